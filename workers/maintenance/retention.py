"""Retention: trims every topic once a minute, and warns before the hard cap which consumer group prevents trimming.

The attempt logs of the lanes are trimmed by age, the quarantine by size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.core.config.relay_toml import AttemptBounds
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.inbox.quarantine import Quarantine
from relay.store.lanes.attempt_log import trim_attempts
from relay.store.topics.retention import Bounds, trim_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.config.file import ConfigFile
    from relay.core.config.topics import Topic
    from relay.store.topics.retention import Trimmed

_ALARM = 0.5  # of the hard cap: early enough for an operator to act

log = structlog.get_logger()


class Retention:
    """The trimming of topics, attempt logs and the quarantine."""

    def __init__(self, redis: Redis, rules: ConfigFile, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._clock = clock

    async def trim(self) -> None:
        """Trim everything; topics and lanes that are not in relay.toml any more by the default bounds."""
        await self._trim_topics()
        await self._trim_attempts()
        if dropped := await Quarantine(self._redis).trim():
            log.error(
                "quarantine.overflowed", dropped=dropped, note="see the remaining ones with: relay quarantine list"
            )

    async def _trim_topics(self) -> None:
        known = {topic.name: topic for topic in self._rules.current.config.topics}
        fed = {name.decode() for name in await ask(self._redis.smembers(keys.TOPICS))}
        for name in sorted(known.keys() | fed):
            topic = known.get(name)
            bounds = bounds_of(topic) if topic else Bounds()
            self._log(name, bounds, await trim_topic(self._redis, name, bounds, round(self._clock() * 1000)))

    async def _trim_attempts(self) -> None:
        known = {subscription.name: subscription.attempts for subscription in self._rules.current.config.subscriptions}
        for name in [name.decode() for name in await ask(self._redis.smembers(keys.LANES))]:
            keep = known.get(name, AttemptBounds()).keep
            await trim_attempts(self._redis, name, keep, round(self._clock() * 1000))

    def _log(self, topic: str, bounds: Bounds, trimmed: Trimmed) -> None:
        fields = {
            "topic": topic,
            "removed": trimmed.removed,
            "entries": trimmed.entries,
            "bytes": trimmed.size,
            "hard_cap": bounds.hard_size,
            "held_by": trimmed.held_by or None,
        }
        if trimmed.needed:
            note = "events that a subscription still needed were removed; relay ledger counts them as lost"
            log.error("topic.overflowed", **fields, lost=trimmed.needed, note=note)
        elif trimmed.held_by and trimmed.size > bounds.hard_size * _ALARM:
            note = "a group needs old events, so they cannot be removed; relay topics shows how far it is behind"
            log.error("topic.filling", **fields, note=note)
        elif trimmed.removed:
            log.info("topic.trimmed", **fields)


def bounds_of(topic: Topic) -> Bounds:
    """Return the bounds that a topic is trimmed to."""
    return Bounds(topic.keep, topic.size, topic.hard_size)
