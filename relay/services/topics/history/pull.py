"""The part of a pull group in an event's story: not yet read, delivered, acknowledged, or a dead letter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.services.access import sees_pull_group
from relay.services.topics.history.lane_reader import positions_in
from relay.store import keys
from relay.store.driver.streams import SKEW_MS, order_of
from relay.store.sharding.places import grouped_by_shard
from relay.store.topics.pull.dead_letters import letter_of
from relay.store.topics.stream_search import NEWEST, Condition, Kind, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.topics.history.scan import Budget
    from relay.services.topics.history.view import Place
    from relay.store.driver.client import Redis


class PullState(StrEnum):
    """The state of an event at a pull group."""

    UNREAD = "not read yet"
    PENDING = "delivered"
    """A member has it, and has not acknowledged it."""
    ACKNOWLEDGED = "acknowledged"
    """Or the group has skipped it: it began later, or was moved."""
    DEAD = "dead letter"
    """The group gave up on it."""


@dataclass(frozen=True, slots=True)
class PullPart:
    """An event at a pull group."""

    group: str
    topic: str
    state: PullState
    member: str | None = None
    """The member that has it."""
    idle_ms: int | None = None
    """Time since that member got it."""
    deliveries: int | None = None
    """The number of times that a member got it."""
    reason: str | None = None
    """Why it is a dead letter."""


async def pull_parts(context: Context, principal: Principal, places: Sequence[Place], budget: Budget) -> list[PullPart]:
    """Return the parts of the pull groups that the principal sees, of the topics that hold the event."""
    shards = context.redis.shards
    by_shard = grouped_by_shard(((place, place.shard) for place in places), len(shards))
    parts = [await _parts_on(shards[number], principal, held, budget) for number, held in by_shard.items()]
    return [part for of_shard in parts for part in of_shard]


async def _parts_on(redis: Redis, principal: Principal, places: Sequence[Place], budget: Budget) -> list[PullPart]:
    """Return the same of places on one shard."""
    groups = [
        (place, name, position)
        for place in places
        for name, position in (await positions_in(redis, place.topic)).items()
        if not name.startswith(keys.PUSH_GROUP_PREFIX) and sees_pull_group(principal, name)
    ]
    if not groups:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for place, name, _ in groups:
            pipe.xpending_range(redis.key.topic(place.topic), name, place.id, place.id, 1)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
    parts = [
        (place, _part(place, name, position, reply))
        for (place, name, position), reply in zip(groups, replies, strict=True)
    ]
    return [await _with_dead_letter(redis, place, part, budget) for place, part in parts]


async def _with_dead_letter(redis: Redis, place: Place, part: PullPart, budget: Budget) -> PullPart:
    """Return the part of a group with its dead letter of the event, if there is one and time to find it."""
    if part.state is not PullState.ACKNOWLEDGED:
        return part
    stream = redis.key.group_dead(part.topic, part.group)
    of_entry = Condition("dead_entry", Kind.IS, place.id)
    start = f"{max(place.at_ms - SKEW_MS, 0)}-0"
    while not budget.is_over:
        try:
            read = await step(redis, stream, start, NEWEST, (of_entry,), backwards=False, most=1)
        except ResponseError:
            break  # its key is not a stream: the doctor says so
        if read.found:
            [(entry, fields)] = read.found
            letter = letter_of(keys.GroupName(part.topic, part.group), entry.encode(), fields)
            return replace(part, state=PullState.DEAD, deliveries=letter.deliveries, reason=letter.full_reason)
        if read.is_end:
            break
        start = f"({read.last}"
    return part


def _part(place: Place, group: str, position: str, reply: Any) -> PullPart:
    if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
        raise reply
    if reply and not isinstance(reply, Exception):
        [row] = reply
        member = row["consumer"].decode(errors="replace")
        idle, times = int(row["time_since_delivered"]), int(row["times_delivered"])
        return PullPart(group, place.topic, PullState.PENDING, member, idle, times)
    is_read = order_of(place.id) <= order_of(position)
    return PullPart(group, place.topic, PullState.ACKNOWLEDGED if is_read else PullState.UNREAD)
