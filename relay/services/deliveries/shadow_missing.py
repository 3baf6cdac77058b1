"""The reasons why a subscription has no attempt of an event that another one of its topic was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.streams import order_of
from relay.store.lanes.many.event_states import event_states

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.services.deliveries.shadow_comparison import Lacking
    from relay.store.driver.client import Redis
    from relay.store.lanes.attempts.record import AttemptRecord

_LETTERS = 2000  # dead letters of a lane that are looked through, the newest

_GONE = "was removed from the topic before it was sent"
_UNKNOWN = "no attempt is kept: it came before the subscription began, or the log has lost it"


async def why_missing(missing: Sequence[Lacking], stopped: Mapping[str, str]) -> list[str]:
    """Return why each event is missing in the subscription that lacks it.

    `stopped` has the reasons why a subscription does not deliver now.
    """
    lanes = {(shard, name) for shard, _, name in missing}
    letters = {lane: await _letters(*lane) for lane in lanes}
    return [
        letters[shard, name].get(attempt.event_id) or await _why(shard, attempt, name, stopped.get(name, ""))
        for shard, attempt, name in missing
    ]


async def _why(redis: Redis, attempt: AttemptRecord, name: str, stopped: str) -> str:
    stream = redis.key.topic(attempt.topic)
    states = await event_states(redis, stream, attempt.entry, None, [name])
    is_there = bool(await redis.xrange(stream, attempt.entry, attempt.entry))
    if is_there and (states[name].is_pending or await _is_unread(redis, stream, attempt.entry, name)):
        return f"waits: {stopped}" if stopped else "waits for its first attempt"
    return _UNKNOWN if is_there else _GONE


async def _is_unread(redis: Redis, stream: str, entry: str, name: str) -> bool:
    group = keys.push_group(name).encode()
    positions = [row["last-delivered-id"] for row in await redis.xinfo_groups(stream) if row["name"] == group]
    return any(order_of(position.decode()) < order_of(entry) for position in positions)


async def _letters(redis: Redis, name: str) -> dict[str, str]:
    """Return the reasons of the dead letters of a lane, by event."""
    try:
        rows = await redis.xrevrange(redis.key.lane(name, "dead"), count=_LETTERS)
    except ResponseError:  # overwritten, which `relay doctor` reports
        return {}
    return {
        fields.get(b"id", b"").decode(): "dead letter: " + fields.get(b"dead_reason", b"").decode(errors="replace")
        for _, fields in rows
    }
