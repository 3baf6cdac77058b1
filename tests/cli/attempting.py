"""Attempts in Redis, as a worker's settler writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.delivery.outcome import Outcome
from relay.store.lanes.attempts.record import AttemptRecord

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

BEGAN = 1_789_377_302_417
GOOD = AttemptRecord(
    topic="support",
    entry="5-0",
    event_id="e-1",
    type="message.received",
    line="+16465550123",
    chat="chat-1",
    message="m-1",
    trace="t-1",
    number=1,
    is_probe=False,
    is_replay=False,
    at_ms=BEGAN,
    took_ms=31,
    outcome=Outcome.DELIVERED,
    status=204,
)
BAD = GOOD._replace(outcome=Outcome.FAILED, status=500, due_ms=BEGAN + 5031)


async def remember(
    redis: Redis, subscription: str, attempt: AttemptRecord, detail: str = "", *, moot: bool = False
) -> None:
    """An attempt that stands in Redis, and its lane among the others."""
    fields: Any = {"a": attempt.encode()} | ({"moot": "1"} if moot else {})
    await redis.sadd(redis.key.lanes, subscription)  # type: ignore[misc]
    entry = await redis.xadd(redis.key.lane(subscription, "attempts"), fields)
    if detail:
        await redis.xadd(redis.key.lane(subscription, "answers"), {"a": detail}, id=entry)
