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
from relay.store.sharding.places import entry_name, entry_of
from relay.store.topics.history import BEGINNING, Extent, History, id_at, ms_of, whole_extent
from relay.store.topics.pull import group_seek
from relay.store.topics.pull.whole import groups_by_shard, whole_seek
from relay.store.topics.pull.whole_letters import AllGroupLetters

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    shard: int | None = None
    """The shard of the entry that was named; None for a time."""

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
        """Return the position before an entry; on the other shards it is the one in the order of ids.

        Raises:
            Invalid: it is not the id of one.
        """
        here, shard = entry_of(entry)
        if not is_entry_id(here):
            raise Invalid(Problem("to", f'"{entry}" is not the id of an entry, such as 1789377302417-0'))
        return cls(id_before(here), ms_of(here), shard)


@dataclass(frozen=True, slots=True)
class SeekPlan:
    """The effect that a move of a group would have."""

    move: Seek
    """The move as a whole."""
    extent: Extent
    """The extent of the topic's history."""
    is_complete: bool
    """True if the history reaches back to the target."""
    parts: Mapping[int, Seek]
    """The move on each shard, by number."""

    @property
    def skipped(self) -> int:
        """The number of events that are skipped: of several shards, some may be behind the target."""
        return sum(part.events for part in self.parts.values() if not part.is_back)

    @property
    def is_back(self) -> bool:
        """True if events are read again, on any shard."""
        parts = self.parts.values()
        return any(part.is_back and part.events for part in parts) or all(part.is_back for part in parts)

    @property
    def is_noop(self) -> bool:
        """True if the move has no effect."""
        return all(part.is_noop for part in self.parts.values())


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
    shards = context.redis.shards
    if target.shard is not None and target.shard >= len(shards):
        raise Invalid(Problem("to", f"the entry would be on shard {target.shard}; the last one is {len(shards) - 1}"))
    having = await _check_group(context, principal, topic, name)
    parts = {n: await group_seek.plan_seek(shards[n], topic, name, target.after) for n in having}
    move = whole_seek(parts)
    _check_entry(target, parts)
    extents = [await History(shard, topic).extent() for shard in shards]
    is_complete = all(extent.reaches(target.ms) for extent in extents)
    return SeekPlan(move, whole_extent(extents), is_complete, parts)


def _check_entry(target: Target, parts: Mapping[int, Seek]) -> None:
    """Check that the topic goes as far as the entry that was named."""
    shard, after = target.shard, target.after
    if shard is None or after is None or shard not in parts:
        return
    part = parts[shard]
    if order_of(after) > order_of(part.last):
        raise Conflict(
            f'"{part.topic}" ends before that entry, at {entry_name(part.last, shard)}',
            hint=Hint("--to end skips everything stored", '"to": "end" skips everything stored'),
        )


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
    return sum([await group_seek.seek(context.redis.shards[n], part) for n, part in planned.parts.items()])


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
    dropped = group.dead if with_letters else 0
    await context.record(principal, "groups delete", f"{topic}/{name}", group.lag + group.pending + dropped, why)
    await AllGroupLetters(context.redis).delete_group(GroupName(topic, name), with_letters=with_letters)
    return group


async def _get(context: Context, principal: Principal, topic: str, name: str) -> PullGroup:
    await check_topic(context, principal, topic)
    await _check_group(context, principal, topic, name)
    groups = {group.name: group for group in await read_groups(context, principal, [topic])}
    if name not in groups:  # it was deleted meanwhile
        raise unknown_group(topic, name, sorted(groups))
    return groups[name]


async def _check_group(context: Context, principal: Principal, topic: str, name: str) -> list[int]:
    """Check that a pull group exists; return the shards that have it."""
    by_shard = await groups_by_shard(context.redis, topic)
    groups = {group for groups in by_shard for group in groups}
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
    return [n for n, groups in enumerate(by_shard) if name in groups]
