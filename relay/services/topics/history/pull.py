"""The part of a pull group in an event's story: read, acknowledged, or not yet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.services.access import sees_pull_group
from relay.services.topics.history.lane_reader import positions_in
from relay.store import keys
from relay.store.driver.streams import order_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.topics.history.view import Place


class PullState(StrEnum):
    """The state of an event at a pull group."""

    UNREAD = "not read yet"
    PENDING = "delivered"
    """A member has it, and has not acknowledged it."""
    ACKNOWLEDGED = "acknowledged"
    """Or the group has skipped it: it began later, or was moved."""


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


async def pull_parts(context: Context, principal: Principal, places: Sequence[Place]) -> list[PullPart]:
    """Return the parts of the pull groups that the principal sees, of the topics that hold the event."""
    redis = context.redis
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
            pipe.xpending_range(redis.key.topic(place.topic), name, place.entry, place.entry, 1)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
    return [_part(place, name, position, reply) for (place, name, position), reply in zip(groups, replies, strict=True)]


def _part(place: Place, group: str, position: str, reply: Any) -> PullPart:
    if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
        raise reply
    if reply and not isinstance(reply, Exception):
        [row] = reply
        member = row["consumer"].decode(errors="replace")
        idle, times = int(row["time_since_delivered"]), int(row["times_delivered"])
        return PullPart(group, place.topic, PullState.PENDING, member, idle, times)
    is_read = order_of(place.entry) <= order_of(position)
    return PullPart(group, place.topic, PullState.ACKNOWLEDGED if is_read else PullState.UNREAD)
