"""Verdicts that need no attempt: on deliveries that are lost, unreadable, filtered or expired. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.config.topics import is_wanted
from relay.core.delivery.outcome import DeadLettered, Filtered, expiry, is_expired

if TYPE_CHECKING:
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Verdict
    from relay.store.lanes.delivery import Delivery


def verdict_without_attempt(delivery: Delivery, subscription: Subscription, now_ms: int) -> Verdict | None:
    """Return the verdict on a delivery that needs no POST at `now_ms` (Unix milliseconds), or None if it needs one."""
    if not delivery.fields:
        return DeadLettered("lost: the entry was deleted from its stream")
    try:
        record = delivery.record
    except ValueError as error:  # not written by the router
        return DeadLettered(f"unreadable: {error}")
    if not is_wanted(subscription, record.type, record.line, record.freshness, record.version):
        return Filtered()
    if is_expired(delivery.since_ms, subscription, now_ms):
        return expiry(subscription)
    return None
