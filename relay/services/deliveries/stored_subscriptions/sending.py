"""A test of a push subscription: a sample event that its lane delivers like any other, marked as a test.

It goes to the lane's replay stream, so it has attempts, retries and a signature as a real event has; its id begins with
`test_`, and its requests have the header `Relay-Test`. No topic and no other subscription gets it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from relay.core.access.scopes import Scope
from relay.core.config.topics import filtered_by
from relay.core.errors import Conflict, Invalid, Problem
from relay.core.event import Dialect, Event, Freshness
from relay.core.patterns import matches
from relay.linq.payloads.decode import decode
from relay.sandbox.payloads import NEW, Scenario, data_of, envelope, exists_in, known_types
from relay.sandbox.payloads.v2 import v2_body, v2_types
from relay.sandbox.state import rfc3339
from relay.services.access import configured
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from relay.store.topics.record import fields_of
from relay.store.topics.samples import TEST_PREFIX, append_sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import Subscription
    from relay.core.config.topics import Topic
    from relay.services.context import Context

_USUAL = "message.received"
_LINE = "+16505550100"
_CUSTOMER = "+13035550188"
_TEXT = "This is a test of the relay."


@dataclass(frozen=True, slots=True)
class SentTest:
    """A test event that was given to a lane."""

    subscription: str
    event_id: str
    """Its attempts are found by it."""
    event_type: str
    line: str | None
    waits_for: str
    """The reason why it is not sent at once, such as a pause; empty for none."""


async def send_test(
    context: Context, principal: Principal, name: str, event_type: str | None = None, why: str = ""
) -> SentTest:
    """Send a sample event to a subscription, of the given type or one that it would get.

    Raises:
        Forbidden: the scope `subscribe` is missing.
        NotFound: there is no subscription of that name.
        Invalid: there is no sample of the type, or the subscription filters it out.
        Conflict: too many replayed events wait for it already.
    """
    principal.require(Scope.SUBSCRIBE)
    config = await context.config()
    subscription = configured(config, principal, name)
    topic = next(known for known in config.topics if known.name == subscription.topic)
    body, event = _sample(subscription, topic, event_type or _usual_type(subscription, topic), context.now_ms)
    await context.record(principal, "send-test", f"{name} {event.id}", 1, why)
    await Lane(context.redis, name, subscription.topic).ensure()
    fields = fields_of(event, context.now_ms, event.id, body)
    if not await append_sample(context.redis, name, subscription.topic, fields, context.now_ms):
        raise Conflict(f"{name} has 100,000 replayed events waiting; test it once they are delivered")
    return SentTest(name, event.id, event.type, event.line, await _waits_for(context, subscription))


def _sample(subscription: Subscription, topic: Topic, event_type: str, now_ms: int) -> tuple[bytes, Event]:
    """Return the body of a sample event, and the event."""
    api = _api(subscription, topic)
    if event_type not in (samples := _with_samples(api)):
        near = get_close_matches(event_type, samples, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are samples of {', '.join(samples)}"
        raise Invalid(Problem("type", f'there is no sample of "{event_type}"; {hint}'))
    lines = subscription.lines or topic.lines or (_LINE,)
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    sender = topic.sender[0] if topic.sender and topic.direction != "outbound" else _CUSTOMER
    scenario = Scenario(
        line=lines[0],
        customer=sender,
        text=_TEXT if topic.opt_out is None else "START" if topic.opt_out == "start" else "STOP",
        service=(topic.service or ("iMessage",))[0],
        is_group=bool(topic.is_group),
        ours=topic.direction == "outbound",
        occurred_at=now,
    )
    event_id = TEST_PREFIX + secrets.token_hex(12)
    if api is Dialect.V2:
        body = v2_body(event_type, scenario, event_id, now)
    else:
        data = data_of(event_type, scenario, NEW)
        if Freshness.HISTORY in {subscription.freshness, topic.freshness}:
            data["reconciled_at"] = rfc3339(now)
        body = envelope(event_type, event_id, data, NEW, now)
    event = decode(api, body, lines[0]).event
    if reasons := filtered_by(subscription, event):
        raise Invalid(Problem("type", f"{subscription.name} filters it out: {'; '.join(reasons)}"))
    return body, event


def _api(subscription: Subscription, topic: Topic) -> Dialect:
    """Return the API whose events the subscription gets, v3 if it gets those of both."""
    return Dialect(subscription.api or topic.api or Dialect.V3)


def _with_samples(api: Dialect) -> list[str]:
    if api is Dialect.V2:
        return sorted(v2_types())
    return [event_type for event_type in sorted(known_types()) if exists_in(event_type, NEW)]


def _usual_type(subscription: Subscription, topic: Topic) -> str:
    """Return a type with a sample that the subscription gets, a received message if possible."""
    for event_type in (_USUAL, *_with_samples(_api(subscription, topic))):
        if _is_any(topic.events, event_type) and _is_any(subscription.events or ("*",), event_type):
            return event_type
    raise Invalid(Problem("type", f"{subscription.name} gets no event of which there is a sample; name a type"))


def _is_any(patterns: Iterable[Any], event_type: str) -> bool:
    return any(matches(pattern, event_type) for pattern in patterns)


async def _waits_for(context: Context, subscription: Subscription) -> str:
    suspensions = Suspensions(context.redis)
    if subscription.paused or subscription.name in await suspensions.pauses():
        return "it is paused; the test is sent once it is resumed"
    if subscription.name in await suspensions.open_breakers():
        return "its circuit breaker is open; the test is sent with the next probe, or once it is closed"
    return ""
