"""The state of pull groups: members, lag, pending events, dead letters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.core.access.scopes import Scope
from relay.services.access import sees_pull_group
from relay.store.driver.streams import is_missing_group
from relay.store.keys import GroupName
from relay.store.ledger.whole import of_each
from relay.store.sharding.places import entry_of
from relay.store.state.unread import is_not_read, oldest_unread
from relay.store.teams.teams import stored_teams
from relay.store.topics.history import ms_of
from relay.store.topics.pull import group_seek
from relay.store.topics.pull.dead_letters import GroupLetters
from relay.store.topics.pull.whole import earliest, latest, whole_members
from relay.store.topics.pull.whole_letters import AllGroupLetters, all_with_letters
from relay.store.topics.topics import estimated_lag, read_topics, topic_names

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from relay.store.topics.pull.group_seek import Member


@dataclass(frozen=True, slots=True)
class OldestPending:
    """The oldest event of a group that was read and not acknowledged."""

    entry: str
    member: str
    idle_ms: int
    """Time since that member got it, or extended it."""
    deliveries: int
    """The number of times that a member got it."""


@dataclass(frozen=True, slots=True)
class PullGroup:
    """A pull group of a topic."""

    topic: str
    name: str
    team: str | None
    """The team that it belongs to, by its name."""
    lag: int
    """The number of events that it has not read: Redis's own, or an estimate where Redis has none."""
    pending: int
    """The number of events that it has read and not acknowledged."""
    position: str
    """The last entry that it has read."""
    unread_since_ms: int | None
    """Time of routing of the oldest event that it has not read, Unix milliseconds; None if there is none."""
    idle_ms: int | None
    """Time since a member last asked for events, or handed some back as it left; None if it has no member. Of several
    shards, that of one on which events wait.
    """
    members: tuple[Member, ...]
    """Its members, by name; `relay:returned` is none, but has the events that were handed back."""
    dead: int
    """The number of its dead letters."""

    @property
    def position_ms(self) -> int | None:
        """Time of routing of the last event that it has read, Unix milliseconds; None at the beginning."""
        return ms_of(self.position) or None

    @property
    def readers(self) -> int:
        """The number of its members that are programs."""
        return sum(member.kind != "returned" for member in self.members)

    def is_not_read(self, now_ms: int) -> bool:
        """Return True if events wait in it, unread or not acknowledged, and no member has asked for a while."""
        return is_not_read(now_ms, self.unread_since_ms, self.pending, self.idle_ms)


async def read_groups(context: Context, principal: Principal, topics: Sequence[str]) -> list[PullGroup]:
    """Return the pull groups of these topics that the principal sees, by topic and name."""
    teams = {principal.team} if principal.team else await _teams(context)
    parts = await of_each(context.redis, lambda shard: _read_part(shard, principal, topics, teams))
    if len(parts) == 1:
        return parts[0]
    found: dict[GroupName, dict[int, PullGroup]] = {}
    for shard, groups in enumerate(parts):
        for group in groups:
            found.setdefault(GroupName(group.topic, group.name), {})[shard] = group
    places = {topic: place for place, topic in enumerate(topics)}
    return [_whole(found[name]) for name in sorted(found, key=lambda name: (places[name.topic], name.group))]


async def _read_part(
    shard: Redis, principal: Principal, topics: Sequence[str], teams: Container[str]
) -> list[PullGroup]:
    """Return the same of one shard, with the ids that it has itself."""
    readings = [
        (topic, group)
        for topic in await read_topics(shard, topics)
        for group in sorted(topic.groups, key=lambda group: group.name)
        if not group.is_push and sees_pull_group(principal, group.name)
    ]
    names = [GroupName(topic.name, group.name) for topic, group in readings]
    members = await group_seek.members_of(shard, names)
    dead = await GroupLetters(shard).numbers(names)
    unread = await oldest_unread(shard, readings)
    found = []
    for (topic, group), name, its_members in zip(readings, names, members, strict=True):
        owner = _team_of(group.name)
        asked = [member.idle_ms for member in its_members if member.kind != "returned"]
        asked = asked or [member.idle_ms for member in its_members]
        found.append(
            PullGroup(
                topic=topic.name,
                name=group.name,
                team=owner if owner in teams else None,
                lag=estimated_lag(topic, group),
                pending=group.pending,
                position=group.position,
                unread_since_ms=unread.get(name),
                idle_ms=min(asked, default=None),
                members=its_members,
                dead=dead[name],
            )
        )
    return found


def _whole(parts: Mapping[int, PullGroup]) -> PullGroup:
    """Return a group from its parts by shard.

    A shard on which events wait, and no member asks, must show: of such shards the group has the longest idle time.
    """
    groups = list(parts.values())
    waiting = [group.idle_ms for group in groups if group.unread_since_ms is not None or group.pending]
    known = [group.idle_ms for group in groups if group.idle_ms is not None]
    longest = None if None in waiting else max((idle for idle in waiting if idle is not None), default=None)
    unread = [group.unread_since_ms for group in groups if group.unread_since_ms is not None]
    return replace(
        groups[0],
        lag=sum(group.lag for group in groups),
        pending=sum(group.pending for group in groups),
        position=latest({shard: group.position for shard, group in parts.items()}),
        unread_since_ms=min(unread, default=None),
        idle_ms=longest if waiting else min(known, default=None),
        members=whole_members(member for group in groups for member in group.members),
        dead=sum(group.dead for group in groups),
    )


async def groups_left(context: Context, team: str) -> list[GroupName]:
    """Return the groups with the name of a team that have a position or dead letters, or would get a position back."""
    topics = await topic_names(context.redis, ())
    found = await AllGroupLetters(context.redis).places(topics)
    found |= (await all_with_letters(context.redis, topics)).keys()
    for shard in context.redis.shards:
        read = await read_topics(shard, topics)
        found |= {GroupName(topic.name, group.name) for topic in read for group in topic.groups if not group.is_push}
    return sorted(name for name in found if _team_of(name.group) == team)


async def oldest_pending(context: Context, principal: Principal, group: PullGroup) -> OldestPending | None:
    """Return the oldest event of a group that was read and not acknowledged; None if there is none."""
    principal.require(Scope.READ)
    parts = dict(enumerate(await of_each(context.redis, lambda shard: _oldest_pending(shard, group))))
    oldest = {n: part for n, part in parts.items() if part is not None}
    if not oldest:
        return None
    name = earliest({n: part.entry for n, part in oldest.items()})
    return replace(oldest[entry_of(name)[1]], entry=name)


async def _oldest_pending(shard: Redis, group: PullGroup) -> OldestPending | None:
    stream = shard.key.topic(group.topic)
    try:
        rows = await shard.xpending_range(stream, group.name, "-", "+", 1)
    except ResponseError as error:
        if is_missing_group(error):  # deleted in this moment
            return None
        raise
    for row in rows:
        entry, member = row["message_id"].decode(), row["consumer"].decode(errors="replace")
        return OldestPending(entry, member, int(row["time_since_delivered"]), int(row["times_delivered"]))
    return None


def _team_of(group: str) -> str:
    return group.partition(".")[0]


async def _teams(context: Context) -> set[str]:
    return {*(await context.config()).teams_by_name, *await stored_teams(context.redis).all()}
