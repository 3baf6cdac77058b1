"""Pull groups: their lag, moving them in their topic, and deleting them.

A team sees the groups that have its name, or begin with its name and a dot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Hint, Invalid, NotFound, Problem
from relay.services.access import check_topic, sees_pull_group, topics_of
from relay.store import keys
from relay.store.driver.streams import id_before, is_entry_id, order_of
from relay.store.topics import group_seek
from relay.store.topics.history import BEGINNING, Extent, History, id_at, ms_of
from relay.store.topics.topics import estimated_lag, read_topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.topics.group_seek import Member, Seek


@dataclass(frozen=True, slots=True)
class PullGroup:
    """A pull group of a topic."""

    topic: str
    name: str
    lag: int
    """The number of events that it has not read: Redis's own, or an estimate where Redis has none."""
    pending: int
    """The number of events that it has read and not acknowledged."""
    position: str
    """The last entry that it has read."""
    idle_ms: int | None
    """Time since a consumer last asked for events; None if it has no consumer."""
    members: tuple[Member, ...]
    """Its consumers, by name."""

    @property
    def position_ms(self) -> int | None:
        """Time of routing of the last event that it has read, Unix milliseconds; None at the beginning."""
        return ms_of(self.position) or None


@dataclass(frozen=True, slots=True)
class Target:
    """A position in a topic."""

    after: str | None
    """The entry before it; None is the end."""
    ms: float | None
    """Its time, Unix milliseconds; None is the beginning."""
    is_entry: bool = False
    """True if an entry was named, not a time."""

    @classmethod
    def start(cls) -> Target:
        """Return the beginning."""
        return cls(BEGINNING, None)

    @classmethod
    def end(cls) -> Target:
        """Return the end."""
        return cls(None, float("inf"))

    @classmethod
    def at(cls, ms: float) -> Target:
        """Return the position before what was routed at `ms` (Unix milliseconds) or later."""
        return cls(id_at(ms), ms)

    @classmethod
    def at_entry(cls, entry: str) -> Target:
        """Return the position before an entry.

        Raises:
            Invalid: it is not the id of one.
        """
        if not is_entry_id(entry):
            raise Invalid(Problem("to", f'"{entry}" is not the id of an entry, such as 1789377302417-0'))
        return cls(id_before(entry), ms_of(entry), is_entry=True)


@dataclass(frozen=True, slots=True)
class SeekPlan:
    """The effect that a move of a group would have."""

    move: Seek
    extent: Extent
    """The extent of the topic's history."""
    is_complete: bool
    """True if the history reaches back to the target."""


async def list_groups(context: Context, principal: Principal, topic: str | None = None) -> list[PullGroup]:
    """Return the pull groups of a topic, or of all topics, by topic and name.

    Raises:
        NotFound: there is no topic of that name.
    """
    principal.require(Scope.READ)
    if topic is not None:
        await check_topic(context, principal, topic)
    return await _groups(context, principal, await topics_of(context, principal) if topic is None else [topic])


async def get_group(context: Context, principal: Principal, topic: str, name: str) -> PullGroup:
    """Return a pull group.

    Raises:
        NotFound: there is no such topic, or it has no such group.
    """
    principal.require(Scope.READ)
    return await _get(context, principal, topic, name)


async def plan(context: Context, principal: Principal, topic: str, name: str, target: Target) -> SeekPlan:
    """Return the effect of moving a pull group to another position; nothing is changed.

    Raises:
        NotFound: there is no such topic, or it has no such group.
        Conflict: the group belongs to a push subscription, or the topic ends before the entry that was named.
    """
    principal.require(Scope.READ)
    await check_topic(context, principal, topic)
    await _check_group(context, principal, topic, name)
    move = await group_seek.plan_seek(context.redis, topic, name, target.after)
    if target.is_entry and target.after is not None and order_of(target.after) > order_of(move.last):
        raise Conflict(
            f'"{topic}" ends before that entry, at {move.last}',
            hint=Hint("--to end skips everything stored", '"to": "end" skips everything stored'),
        )
    extent = await History(context.redis, topic).extent()
    return SeekPlan(move, extent, extent.reaches(target.ms))


async def seek(context: Context, principal: Principal, planned: SeekPlan, why: str = "") -> int:
    """Move a pull group as planned; return the number of pending events that are delivered again.

    Raises:
        NotFound: there is no such topic, or it has no such group.
    """
    principal.require(Scope.SUBSCRIBE)
    move = planned.move
    await check_topic(context, principal, move.topic)
    await _check_group(context, principal, move.topic, move.group)
    target = f"{move.topic}/{move.group} from {move.current} to {move.after}"
    await context.record(principal, "rewind", target, move.events, why)
    return await group_seek.seek(context.redis, move)


async def delete(context: Context, principal: Principal, topic: str, name: str, why: str = "") -> PullGroup:
    """Delete a pull group with its position; return it as it was.

    Raises:
        NotFound: there is no such topic, or it has no such group.
        Conflict: the group belongs to a push subscription.
    """
    principal.require(Scope.SUBSCRIBE)
    group = await _get(context, principal, topic, name)
    await context.record(principal, "groups delete", f"{topic}/{name}", group.lag + group.pending, why)
    await group_seek.delete_group(context.redis, topic, name)
    return group


async def _get(context: Context, principal: Principal, topic: str, name: str) -> PullGroup:
    await check_topic(context, principal, topic)
    await _check_group(context, principal, topic, name)
    groups = {group.name: group for group in await _groups(context, principal, [topic])}
    if name not in groups:  # it was deleted meanwhile
        raise _unknown(topic, name, sorted(groups))
    return groups[name]


async def _groups(context: Context, principal: Principal, topics: Sequence[str]) -> list[PullGroup]:
    readings = [
        (topic, group)
        for topic in await read_topics(context.redis, topics)
        for group in sorted(topic.groups, key=lambda group: group.name)
        if not group.is_push and sees_pull_group(principal, group.name)
    ]
    places = [(topic.name, group.name) for topic, group in readings]
    members = await group_seek.members_of(context.redis, places)
    return [
        PullGroup(
            topic=topic.name,
            name=group.name,
            lag=estimated_lag(topic, group),
            pending=group.pending,
            position=group.position,
            idle_ms=min((member.idle_ms for member in found), default=None),
            members=found,
        )
        for (topic, group), found in zip(readings, members, strict=True)
    ]


async def _check_group(context: Context, principal: Principal, topic: str, name: str) -> None:
    groups = await group_seek.groups_of(context.redis, topic)
    is_lane = name.startswith(keys.PUSH_GROUP_PREFIX)
    if principal.is_operator and (is_lane or (name not in groups and keys.push_group(name) in groups)):
        name = name.removeprefix(keys.PUSH_GROUP_PREFIX)
        raise Conflict(
            f"{name} is a push subscription; a replay sends it events again",
            hint=Hint(f"relay replay --topic {topic} --to {name}", "POST /replays"),
        )
    seen = sorted(
        group for group in groups if not group.startswith(keys.PUSH_GROUP_PREFIX) and sees_pull_group(principal, group)
    )
    if name not in seen:
        raise _unknown(topic, name, seen)


def _unknown(topic: str, name: str, known: Sequence[str]) -> NotFound:
    return NotFound(f'topic "{topic}" has no group "{name}" (pull groups: {", ".join(known) or "none"})')
