"""The previous and the next event of a chat.

A chat is on one shard, unless it moved when the number of shards grew: then its older events are on another one. So the
others are searched only if the event's own has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.store.driver.streams import order_of
from relay.store.topics.stream_search import NEWEST, OLDEST, Condition, Kind, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.services.topics.history.scan import Budget
    from relay.services.topics.history.view import EventView, Place
    from relay.store.driver.client import Redis
    from relay.store.topics.stream_search import Found

_STEPS = 100  # pages that are read in each topic


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The nearest event of the same chat, in the topics that hold both."""

    id: str
    type: str
    at_ms: int
    """Time of routing, Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The events around an event in its chat."""

    previous: Neighbour | None = None
    next: Neighbour | None = None
    searched_all: bool = True
    """False if an end of the search was not the end of what is held: there may be one."""


async def neighbours_of(redis: Redis, event: EventView, budget: Budget) -> Neighbours:
    """Return the events around an event in its chat, as far as they are near.

    `redis` is the client of the first shard.
    """
    if not event.chat or not event.places:
        return Neighbours()
    before, all_before = await _nearest(redis, event, budget, backwards=True)
    after, all_after = await _nearest(redis, event, budget, backwards=False)
    return Neighbours(before, after, all_before and all_after)


async def _nearest(redis: Redis, event: EventView, budget: Budget, *, backwards: bool) -> tuple[Neighbour | None, bool]:
    own = [(redis.shards[place.shard], place) for place in event.places]
    found, is_known = await _in_topics(own, event, budget, backwards=backwards)
    numbers = {place.shard for place in event.places}
    others = [shard for number, shard in enumerate(redis.shards) if number not in numbers]
    if others and not found:
        elsewhere = [(shard, place) for shard in others for place in event.places]
        found, is_all_known = await _in_topics(elsewhere, event, budget, backwards=backwards)
        is_known = is_known and is_all_known
    if not found:
        return None, is_known
    nearest = (max if backwards else min)(found, key=lambda each: order_of(each.entry))
    kind = nearest.fields.get(b"type", b"").decode(errors="replace")
    event_id = nearest.fields.get(b"id", b"").decode(errors="replace")
    return Neighbour(event_id, kind, order_of(nearest.entry)[0]), is_known


async def _in_topics(
    where: Sequence[tuple[Redis, Place]], event: EventView, budget: Budget, *, backwards: bool
) -> tuple[list[Found], bool]:
    """Return the nearest event of the chat in each topic on a shard, and whether there can be no other."""
    found: list[Found] = []
    is_known = True
    for shard, place in where:
        in_topic, was_whole = await _in_topic(shard, event, place, budget, backwards=backwards)
        found += in_topic
        is_known = is_known and (was_whole or bool(in_topic))
    return found, is_known


async def _in_topic(
    redis: Redis, event: EventView, place: Place, budget: Budget, *, backwards: bool
) -> tuple[list[Found], bool]:
    """Return the nearest event of the chat in a topic, and whether the topic was read up to its end."""
    start, end = f"({place.id}", OLDEST if backwards else NEWEST
    condition = Condition("chat", Kind.IS, event.chat or "")
    for _ in range(_STEPS):
        if budget.is_over:
            break
        try:
            read = await step(
                redis, redis.key.topic(place.topic), start, end, (condition,), backwards=backwards, most=1
            )
        except ResponseError:
            return [], False
        if found := [each for each in read.found if each.fields.get(b"id") != event.id.encode()]:
            return found, True
        if read.is_end:
            return [], True
        start = f"({read.last}"
    return [], False
