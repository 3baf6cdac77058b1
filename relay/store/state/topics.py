"""Samples of the topics and of their pull groups."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.metrics import declared
from relay.store.driver.client import ask
from relay.store.driver.streams import count_between, order_of
from relay.store.keys import GroupName
from relay.store.state.sample import Sample
from relay.store.state.unread import Place, first_after, known_first_after
from relay.store.topics.pull.dead_letters import GroupLetters, pull_groups
from relay.store.topics.retention import Bounds, look_at_topics
from relay.store.topics.topics import read_topics, topic_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis
    from relay.store.topics.topics import GroupReading, TopicReading

    Groups = Sequence[tuple[TopicReading, GroupReading]]


async def topic_samples(
    redis: Redis,
    config: RelayConfig | None,
    now_ms: int,
    count_timeout: float,
    *,
    is_brief: bool = False,
    parts: int = 1,
) -> AsyncIterator[Sample]:
    """Yield the samples of every topic on a shard; `count_timeout` is seconds for counting events.

    `parts` is the number of shards, which share the hard caps.

    With `is_brief`, topics that no alert can be about are left out: they have no pull group, and are far from their
    hard caps.
    """
    topics = {topic.name: topic for topic in config.topics} if config else {}
    shown = await topic_names(redis, topics)
    if is_brief and config and config.alerts:
        caps = {name: Bounds.of(topics.get(name), parts).hard_size for name in shown}
        shown = await _notable(redis, caps, config.alerts.topic_near_cap.above)
    readings = await read_topics(redis, shown)
    counts = await ask(redis.hgetall(redis.key.counts))
    prefix = f"routed:{redis.key.topic_prefix}"
    routed = {name.decode(): int(count) for name, count in counts.items() if name.startswith(prefix.encode())}
    for topic in readings:
        labels, size = (topic.name,), topic.size
        age = 0.0 if topic.oldest_ms is None else max(now_ms - topic.oldest_ms, 0) / 1000
        yield Sample(declared.TOPIC_EVENTS, routed.get(prefix + topic.name, 0), labels)
        yield Sample(declared.TOPIC_ENTRIES, topic.events, labels)
        yield Sample(declared.TOPIC_BYTES, size, labels)
        yield Sample(declared.TOPIC_OLDEST_AGE, age, labels)
        yield Sample(declared.TOPIC_CAP_RATIO, size / Bounds.of(topics.get(topic.name)).hard_size, labels)
    groups = [(topic, group) for topic in readings for group in topic.groups if not group.is_push]
    async for sample in _of_groups(redis, groups, now_ms, count_timeout):
        yield sample
    letters = GroupLetters(redis)
    names = {GroupName(topic.name, group.name) for topic, group in groups} | (await letters.known()).keys()
    for name, number in (await letters.numbers(sorted(names))).items():
        yield Sample(declared.PULL_GROUP_DEAD_LETTERS, number, name)


async def _notable(redis: Redis, caps: Mapping[str, int], most: float) -> list[str]:
    """Return the topics that have pull groups, or have reached the part `most` of their hard caps."""
    names = list(caps)
    pulled = {name.topic for name in await pull_groups(redis, names)}
    sizes = {name: look.size for name, look in (await look_at_topics(redis, names)).items()}
    return [name for name in names if name in pulled or sizes[name] > most * caps[name]]


async def _of_groups(redis: Redis, groups: Groups, now_ms: int, count_timeout: float) -> AsyncIterator[Sample]:
    idle = await _idle_ms(redis, groups)
    known = {
        _place(redis, topic, group): known_first_after(group.position, topic.first or "", topic.last)
        for topic, group in groups
    }
    asked = await first_after(redis, (place for place, entry in known.items() if entry is None))
    lags = await _lags(redis, groups, count_timeout)
    for topic, group in groups:
        place, labels = _place(redis, topic, group), (topic.name, group.name)
        entry = known[place] or asked.get(place)
        age = max(now_ms - order_of(entry)[0], 0) / 1000 if entry else 0
        yield Sample(declared.PULL_GROUP_PENDING, group.pending, labels)
        yield Sample(declared.PULL_GROUP_OLDEST_UNREAD_AGE, age, labels)
        if labels in lags:
            yield Sample(declared.PULL_GROUP_LAG, lags[labels], labels)
        if labels in idle:
            yield Sample(declared.PULL_GROUP_IDLE, idle[labels] / 1000, labels)


def _place(redis: Redis, topic: TopicReading, group: GroupReading) -> Place:
    return Place(redis.key.topic(topic.name), group.position)


async def _idle_ms(redis: Redis, groups: Groups) -> Mapping[tuple[str, str], int]:
    """Return since when no consumer of each group asked for events, milliseconds; groups without one are left out."""
    async with redis.pipeline(transaction=False) as pipe:
        for topic, group in groups:
            pipe.xinfo_consumers(redis.key.topic(topic.name), group.name)
        replies: list[Any] = await pipe.execute(raise_on_error=False) if groups else []
    return {
        (topic.name, group.name): min(int(row["idle"]) for row in rows)
        for (topic, group), rows in zip(groups, replies, strict=True)
        if rows and not isinstance(rows, ResponseError)
    }


async def _lags(redis: Redis, groups: Groups, count_timeout: float) -> Mapping[tuple[str, str], int]:
    """Return what each group has not read: Redis's own number, or what is counted while there is time for it."""
    lags = {(topic.name, group.name): group.lag for topic, group in groups if group.lag is not None}
    try:
        async with asyncio.timeout(count_timeout):
            for topic, group in _uncounted(groups):
                stream = redis.key.topic(topic.name)
                lags[topic.name, group.name] = await count_between(redis, stream, group.position, topic.last)
    except TimeoutError:
        pass
    return lags


def _uncounted(groups: Groups) -> Iterator[tuple[TopicReading, GroupReading]]:
    return ((topic, group) for topic, group in groups if group.lag is None)
