"""Checks of the pull groups: those that nothing reads, their dead letters, and streams of misspelt topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import NoPermissionError

from relay.core.durations import format_duration
from relay.doctor.finding import Finding, not_checked, warning
from relay.store.keys import GroupName
from relay.store.ledger.whole import of_each
from relay.store.state.unread import is_not_read, oldest_unread
from relay.store.topics.pull.group_seek import members_of
from relay.store.topics.pull.whole_letters import all_with_letters
from relay.store.topics.registry import ghost_streams, nearest_topic
from relay.store.topics.topics import read_topics, topic_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis
    from relay.store.topics.topics import GroupReading, TopicReading

_LOOK_FOR = 10.0  # seconds for a look at all keys


async def examine_groups(redis: Redis, config: RelayConfig, user: str, now: float) -> list[Finding]:
    """Return a finding for each pull group that nothing reads or that has dead letters, and for each ghost stream.

    `user` is that of REDIS_URL, and `now` the time, Unix seconds.
    """
    topics = await topic_names(redis, config.topic_names)
    parts = await of_each(redis, lambda shard: _read(shard, topics))
    groups = sorted({GroupName(topic.name, group.name) for part in parts for topic, group, *_ in part})
    findings = []
    for name in groups:
        of_group = [each for part in parts for each in part if (each.topic.name, each.group.name) == name]
        silent = [each for each in of_group if each.is_not_read(round(now * 1000))]
        if silent:
            findings.append(warning(f"pull group {name}", _not_read(silent), _remedy(*name)))
    for name, number in (await all_with_letters(redis, topics)).items():
        what = f"{number} dead letter{'' if number == 1 else 's'}"
        remedy = f"relay dead list --group {name}, then relay dead replay or relay dead drop"
        findings.append(warning(f"pull group {name}", what, remedy))
    findings += _beside_exclusive(config, groups)
    return [*findings, *await _ghosts(redis, topics, user)]


class _Part(NamedTuple):
    """A pull group on a shard."""

    topic: TopicReading
    group: GroupReading
    idle_ms: int | None
    unread_since_ms: int | None

    def is_not_read(self, now_ms: int) -> bool:
        """Return True if events wait, and no member has asked for a while."""
        return is_not_read(now_ms, self.unread_since_ms, self.group.pending, self.idle_ms)


async def _read(shard: Redis, topics: Sequence[str]) -> list[_Part]:
    """Return the pull groups of a shard."""
    groups = [
        (topic, group) for topic in await read_topics(shard, topics) for group in topic.groups if not group.is_push
    ]
    members = await members_of(shard, [(topic.name, group.name) for topic, group in groups])
    unread = await oldest_unread(shard, groups)
    return [
        _Part(
            topic,
            group,
            min((member.idle_ms for member in its_members), default=None),
            unread.get((topic.name, group.name)),
        )
        for (topic, group), its_members in zip(groups, members, strict=True)
    ]


def _beside_exclusive(config: RelayConfig, groups: Sequence[GroupName]) -> list[Finding]:
    """Return a finding for each pull group beyond the only reader of an exclusive topic.

    Redis lets every client make a group, so the relay cannot refuse it.
    """
    findings = []
    for topic in config.topics:
        if topic.exclusive:
            readers = [each.name for each in config.subscriptions_by_topic.get(topic.name, ()) if not each.shadow_of]
            readers += [name.group for name in groups if name.topic == topic.name]
            for name in readers[1:]:
                what = f'the topic is exclusive, and "{readers[0]}" reads it too: a message may be answered twice'
                delete = f"relay groups delete {topic.name}/{name} 'read by {readers[0]}'"
                remedy = f"{delete}, or remove `exclusive` from the topic"
                findings.append(warning(f"pull group {topic.name}/{name}", what, remedy))
    return findings


def _not_read(parts: Sequence[_Part]) -> str:
    """Return the finding about a group that has events and no request for them, from the shards where it is so."""
    lags = [part.group.lag for part in parts]
    lag = "unread events" if None in lags else f"{sum(filter(None, lags))} unread"
    pending, idle = sum(part.group.pending for part in parts), [part.idle_ms for part in parts]
    asked = "it has no member"
    if idle_ms := min(filter(None, idle), default=None):
        asked = f"no member has asked for {format_duration(idle_ms / 1000)}"
    return f"not read: {lag}, {pending} pending, and {asked}; its topic keeps its events, up to hard_size"


def _remedy(topic: str, group: str) -> str:
    return f"start its consumer; one that is given up: relay groups delete {topic}/{group} 'no longer used'"


async def _ghosts(redis: Redis, topics: Sequence[str], user: str) -> list[Finding]:
    area = "ghost streams"
    try:
        found = await ghost_streams(redis, set(topics), _LOOK_FOR)
    except NoPermissionError:
        remedy = (
            f"to have it checked, run: ACL SETUSER {user} +scan (it then sees the names of all keys of this server)"
        )
        return [not_checked("topics", area, "Redis refuses SCAN to this user", remedy)]
    findings = []
    groups_of: dict[str, dict[str, None]] = {name: {} for name in found.names}
    for shard in redis.shards:
        for topic in await read_topics(shard, found.names):
            groups_of[topic.name].update(dict.fromkeys(group.name for group in topic.groups))
    for name, groups in groups_of.items():
        readers = ", ".join(groups) or "none"
        nearest = nearest_topic(name, topics)
        hint = f'; did they mean "{nearest}"?' if nearest else ""
        what = f"no such topic, so nothing is routed to this stream, which a reader has made (groups: {readers}){hint}"
        remedy = f"correct the topic of its readers, then: relay topics drop {name}"
        findings.append(warning(f"topic {name}", what, remedy))
    if not found.is_complete:
        why = f"there are too many keys for {_LOOK_FOR:g} s"
        findings.append(not_checked("topics", f"{area}, in part", why, "run it again while Redis has little to do"))
    return findings
