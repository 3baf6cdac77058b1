"""The immediate state of an event in lanes: what each of them has of an entry of its topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.store import keys
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages
from relay.store.lanes.delivery import Ref

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis

_PAGE = 300  # lanes in one script, which blocks Redis for about 1 ms

_read = Script(__package__, "read_event_states")


class EventState(NamedTuple):
    """The immediate state of an event in a lane."""

    is_pending: bool
    """True if the lane has read it, and it is not settled."""
    due_ms: int | None
    """Time of the next attempt, Unix milliseconds; None if it waits for none."""
    blocked_by: bytes | None
    """The dead letter that blocks the event's chat."""


async def event_states(
    redis: Redis, stream: str, entry: str, chat: str | None, lanes: Sequence[str]
) -> dict[str, EventState]:
    """Return the state of an entry of a topic's stream in each of `lanes`."""
    states: dict[str, EventState] = {}
    for names in pages(lanes, _PAGE):
        redis_keys = [stream, *map(redis.key.lane, names)]
        arguments = [entry, str(Ref(stream, entry)), chat or "", *map(keys.push_group, names)]
        for name, (pending, due, blocked) in zip(names, await _read(redis, redis_keys, arguments), strict=True):
            states[name] = EventState(bool(pending), None if due is None else round(float(due)), blocked)
    return states
