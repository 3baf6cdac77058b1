"""Subscriptions, secrets and desired states for plans, with sensible defaults."""

from __future__ import annotations

from typing import Any

from relay.bootstrap.plan import DesiredState
from relay.linq.api.v2_models import V2Subscription
from relay.linq.api.v3 import LinqSubscription
from relay.linq.target_urls import target_url, v2_url
from relay.store.keyring.record import KeyRecord

PUBLIC = "https://relay.example.com"
LINE = "+16465550123"
OTHER_LINE = "+16465550124"
GONE_LINE = "+16465550199"
NOW = 1_789_377_302.0
EVENTS = frozenset({"message.received", "message.sent"})
FOREIGN_URLS = (
    "https://somewhere.example.com/webhooks/linq?version=2026-02-03&line=16465550123&gen=1",
    "https://relay.example.com.evil.example/webhooks/linq?line=16465550123",
    "https://relay.example.com/webhooks/linq/v2",
    "https://relay.example.com/webhooks/linqx?line=16465550123",
    "https://relay.example.com/other/webhooks/linq?line=16465550123",
    "https://relay.example.com:8443/webhooks/linq?line=16465550123",
    "http://relay.example.com/webhooks/linq?line=16465550123",
)


def desired_state(*lines: str, events: frozenset[str] = EVENTS, public_url: str = PUBLIC) -> DesiredState:
    return DesiredState(public_url, lines or (LINE,), events)


def subscription(
    subscription_id: str = "s-1", line: str = LINE, generation: int = 1, url: str | None = None
) -> LinqSubscription:
    """Return a correct subscription of ours."""
    return LinqSubscription(
        id=subscription_id,
        target_url=url or target_url(PUBLIC, line, generation),
        events=EVENTS,
        phone_numbers=frozenset({line}),
        is_active=True,
    )


def record(
    subscription_id: str = "s-1", line: str | None = LINE, generation: int = 1, retire_at: int | None = None
) -> KeyRecord:
    """Return the stored secret of a subscription."""
    return KeyRecord(
        line=line,
        generation=generation,
        subscription_id=subscription_id,
        sealed="...",
        stored_at=0,
        retire_at=retire_at,
    )


def v2_subscription(**fields: Any) -> V2Subscription:
    """Return our v2 subscription, correct except for `fields`."""
    good = {"id": 1, "webhook_url": v2_url(PUBLIC), "version": 2, "events": EVENTS, "active": True}
    return V2Subscription.model_validate({**good, "secret_configured": True, **fields})
