"""Retention: once a minute every topic loses what nobody needs any more; who is in the way is said in time.

So do the lanes' attempts, by age, and what was set aside, by size.
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

_ALARM = 0.5  # of the hard cap: there is time to act

log = structlog.get_logger()


class Retention:
    """Trims topics, attempts and what was set aside."""

    def __init__(self, redis: Redis, rules: ConfigFile, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._clock = clock

    async def trim(self) -> None:
        """Trims everything; what has left relay.toml as what says nothing there."""
        await self._trim_topics()
        await self._trim_attempts()
        if dropped := await Quarantine(self._redis).trim():
            log.error("quarantine.overflowed", dropped=dropped, note="relay quarantine list shows what is left")

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
        said = {
            "topic": topic,
            "removed": trimmed.removed,
            "entries": trimmed.entries,
            "bytes": trimmed.size,
            "hard_cap": bounds.hard_size,
            "held_by": trimmed.held_by or None,
        }
        if trimmed.needed:
            log.error("topic.overflowed", **said, lost=trimmed.needed)
        elif trimmed.held_by and trimmed.size > bounds.hard_size * _ALARM:
            log.error("topic.filling", **said)
        elif trimmed.removed:
            log.info("topic.trimmed", **said)


def bounds_of(topic: Topic) -> Bounds:
    """How much a topic keeps."""
    return Bounds(topic.keep, topic.size, topic.hard_size)
