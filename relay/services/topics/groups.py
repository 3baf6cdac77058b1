"""Pull groups: their lag, moving them in their topic, and deleting them.

A team sees the groups that have its name, or begin with its name and a dot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Hint, Invalid, Problem
from relay.services.access import check_topic, sees_pull_group, topics_of, unknown_group
from relay.services.topics.pull.states import PullGroup, read_groups
from relay.store import keys
from relay.store.driver.streams import id_before, is_entry_id, order_of
from relay.store.keys import GroupName
from relay.store.topics.history import BEGINNING, Extent, History, id_at, ms_of
from relay.store.topics.pull import group_seek
from relay.store.topics.pull.dead_letters import GroupLetters

if TYPE_CHECKING:
    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.topics.pull.group_seek import Seek


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
    return await read_groups(context, principal, await topics_of(context, principal) if topic is None else [topic])


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
    await context.record(principal, "groups seek", target, move.events, why)
    return await group_seek.seek(context.redis, move)


async def delete(
    context: Context, principal: Principal, topic: str, name: str, why: str = "", *, with_letters: bool = False
) -> PullGroup:
    """Delete a pull group with its position, and on request with its dead letters; return it as it was.

    Raises:
        NotFound: there is no such topic, or it has no such group.
        Conflict: the group belongs to a push subscription.
        Forbidden: dead letters are dropped with the scope `replay` only.
    """
    principal.require(Scope.SUBSCRIBE)
    if with_letters:
        principal.require(Scope.REPLAY)
    group = await _get(context, principal, topic, name)
    letters = GroupLetters(context.redis)
    dropped = group.dead if with_letters else 0
    await context.record(principal, "groups delete", f"{topic}/{name}", group.lag + group.pending + dropped, why)
    await letters.delete_group(GroupName(topic, name), with_letters=with_letters)
    return group


async def _get(context: Context, principal: Principal, topic: str, name: str) -> PullGroup:
    await check_topic(context, principal, topic)
    await _check_group(context, principal, topic, name)
    groups = {group.name: group for group in await read_groups(context, principal, [topic])}
    if name not in groups:  # it was deleted meanwhile
        raise unknown_group(topic, name, sorted(groups))
    return groups[name]


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
        raise unknown_group(topic, name, seen)
