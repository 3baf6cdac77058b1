"""Account events about changes made through the v3 API.

A subscription to `webhook_subscription.*` also gets the events about itself (documented in the SDK for
`webhook_subscription.created`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.events.emit import Emission
from relay.sandbox.payloads import NEW, Scenario, data_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.sandbox.state import Subscription

_API_ORIGIN = {"origin": "api", "actor": {"type": "api"}}
_ROUTING = ("routing_key_header", "routing_id_header")


def created(subscription: Subscription) -> Emission:
    """Build the event of a created subscription."""
    return _about(subscription, "created", events=subscription.events)


def deleted(subscription: Subscription) -> Emission:
    """Build the event of a deleted subscription."""
    return _about(subscription, "deleted")


def disabled_by_linq(subscription: Subscription) -> Emission:
    """Build the event of a subscription that Linq has disabled."""
    return _about(subscription, "disabled")


def updated(before: Mapping[str, Any], subscription: Subscription) -> Iterator[Emission]:
    """Yield an event for each change since `before`, the JSON of the subscription at that time."""
    now = subscription.as_json()
    changed = {name: {"from": before[name], "to": now[name]} for name in now if now[name] != before[name]}
    for name, event in (
        ("target_url", "target_url_changed"),
        ("subscribed_events", "events.updated"),
        ("phone_numbers", "phone_numbers.updated"),
    ):
        if name in changed:
            yield _about(subscription, event, change=changed[name])
    if "is_active" in changed:
        yield _about(subscription, "enabled" if subscription.is_active else "disabled", origin=_API_ORIGIN)
    if not changed.keys().isdisjoint(_ROUTING):
        event = "routing_headers_set" if subscription.routing_key_header else "routing_headers_cleared"
        routing = [{name: fields[name] for name in _ROUTING} for fields in (before, now)]
        former, current = (headers if any(headers.values()) else None for headers in routing)
        yield _about(subscription, event, change={"from": former, "to": current})


def forwarded(line: str, before: str | None, now: str | None) -> Emission:
    """Build the event of a changed forwarding number."""
    event = "phone_number.forwarding_updated"
    data = {**data_of(event, Scenario(line=line), NEW), "change": {"from": before, "to": now}}
    return Emission(type=event, line=line, data=data)


def _about(
    subscription: Subscription,
    change_type: str,
    *,
    change: Any = None,
    origin: Mapping[str, Any] | None = None,
    **more: Any,
) -> Emission:
    event = f"webhook_subscription.{change_type}"
    data = {**data_of(event, Scenario(line=""), NEW), **(origin or {})}
    about = {"id": subscription.id, "target_url": subscription.target_url, **more}
    data = {**data, "webhook_subscription": about}
    data = data if change is None else {**data, "change": change}
    return Emission(type=event, data=data, account=subscription.account)
