"""What the account tells of changes that are made through the v3 API: each is an event for whoever asked for it.

A subscription to `webhook_subscription.*` hears of itself, too (the SDK says so of `webhook_subscription.created`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.events.emit import Emission
from relay.sandbox.payloads import NEW, Scene, data_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.sandbox.state import Subscription

_BY_THE_API = {"origin": "api", "actor": {"type": "api"}}
_ROUTING = ("routing_key_header", "routing_id_header")


def created(subscription: Subscription) -> Emission:
    """It was created."""
    return _about(subscription, "created", events=subscription.events)


def deleted(subscription: Subscription) -> Emission:
    """It was deleted."""
    return _about(subscription, "deleted")


def disabled_by_linq(subscription: Subscription) -> Emission:
    """Linq has switched it off."""
    return _about(subscription, "disabled")


def updated(before: Mapping[str, Any], subscription: Subscription) -> Iterator[Emission]:
    """What of it is another than `before`, which is what it showed then."""
    now = subscription.shown()
    changed = {name: {"from": before[name], "to": now[name]} for name in now if now[name] != before[name]}
    for name, event in (
        ("target_url", "target_url_changed"),
        ("subscribed_events", "events.updated"),
        ("phone_numbers", "phone_numbers.updated"),
    ):
        if name in changed:
            yield _about(subscription, event, change=changed[name])
    if "is_active" in changed:
        yield _about(subscription, "enabled" if subscription.is_active else "disabled", done_by=_BY_THE_API)
    if not changed.keys().isdisjoint(_ROUTING):
        event = "routing_headers_set" if subscription.routing_key_header else "routing_headers_cleared"
        routing = [{name: shown[name] for name in _ROUTING} for shown in (before, now)]
        former, current = (one if any(one.values()) else None for one in routing)
        yield _about(subscription, event, change={"from": former, "to": current})


def forwarded(line: str, before: str | None, now: str | None) -> Emission:
    """Calls to a line go elsewhere now."""
    event = "phone_number.forwarding_updated"
    data = {**data_of(event, Scene(line=line), NEW), "change": {"from": before, "to": now}}
    return Emission(type=event, line=line, data=data)


def _about(
    subscription: Subscription,
    what: str,
    *,
    change: Any = None,
    done_by: Mapping[str, Any] | None = None,
    **more: Any,
) -> Emission:
    event = f"webhook_subscription.{what}"
    data = {**data_of(event, Scene(line=""), NEW), **(done_by or {})}
    about = {"id": subscription.id, "target_url": subscription.target_url, **more}
    data = {**data, "webhook_subscription": about}
    return Emission(type=event, data=data if change is None else {**data, "change": change})
