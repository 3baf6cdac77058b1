"""Arrivals: a connection to each shard that waits for the next event of many topics, and wakes all who wait for one.

A long poll or a stream that waited in Redis by itself would need a connection of its own. Here a waiter takes a mark,
reads its topic without blocking, and if there was nothing waits until the topic has changed since the mark:

    mark = arrivals.mark("support")
    events = await read()
    if not events:
        await arrivals.wait("support", mark, timeout=30.0)

A waiter may be woken although there is nothing for it. While Redis is unavailable all are woken, and find out. With
several shards, `away` has those that do not answer: who reads the others need not wait for them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import ResponseError

from relay.process.tasks import end_task, wait_for_event
from relay.store.driver.client import REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.store.driver.client import Redis

_BLOCK_MS = 250
"""Longest time of a read, and with it the longest delay of the first event of a topic that was not watched before."""
_GATHER = 0.05  # seconds from one wake-up to the next at least, so that a busy topic wakes its waiters for many events
_FORGET = 60.0  # seconds after which a topic without readers is no longer watched
_PAUSE = 1.0  # seconds before another try after an error of Redis


class _Watched:
    """A topic that is watched."""

    def __init__(self) -> None:
        self.changes = 0
        self.changed = asyncio.Event()
        self.asked_at = 0.0

    def wake(self) -> None:
        self.changes += 1
        self.changed.set()
        self.changed = asyncio.Event()


class Arrivals:
    """The arrivals of events in topics; watches while it is open."""

    def __init__(self, home: Redis) -> None:
        """`home` is the client of the first shard."""
        self._topics: dict[str, _Watched] = {}
        self._watchers = [_Watcher(shard, self._topics) for shard in home.shards]
        self._watching: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        self._watching = [asyncio.create_task(each.watch(), name="arrivals") for each in self._watchers]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop watching, and wake all waiters."""
        for watching in self._watching:
            await end_task(watching)
        _wake_all(self._topics)

    @property
    def away(self) -> Mapping[int, Exception]:
        """The errors of the shards that did not answer the last look, by number."""
        return {number: each.error for number, each in enumerate(self._watchers) if each.error is not None}

    def mark(self, topic: str) -> int:
        """Return the present state of a topic; it is watched from now on."""
        watched = self._topics.setdefault(topic, _Watched())
        watched.asked_at = asyncio.get_running_loop().time()
        for watcher in self._watchers:
            watcher.is_wanted.set()
        return watched.changes

    async def wait(self, topic: str, mark: int, timeout: float) -> None:
        """Wait until the topic has changed since `mark`, at most `timeout` seconds."""
        watched = self._topics.get(topic)
        if watched is not None and watched.changes == mark:
            watched.asked_at = asyncio.get_running_loop().time() + timeout
            await wait_for_event(watched.changed, timeout)

    def wake(self, topic: str) -> None:
        """Wake all who wait for the topic: an event was handed back, or a reader has room for more."""
        if watched := self._topics.get(topic):
            watched.wake()


class _Watcher:
    """A watcher of the streams of one shard."""

    def __init__(self, redis: Redis, topics: dict[str, _Watched]) -> None:
        """`topics` are those that are watched, the same ones on all shards."""
        self._redis = redis
        self._topics = topics
        self._last: dict[str, str] = {}
        """The last entry of each topic that is known; a topic is missing before its first look."""
        self.is_wanted = asyncio.Event()
        self.error: Exception | None = None
        """The error of the last look, if Redis did not answer."""

    async def watch(self) -> None:
        """Watch, without end."""
        while True:
            self._forget_unused()
            if not self._topics:
                self.error = None
                self.is_wanted.clear()
                await self.is_wanted.wait()
            try:
                await self._look()
            except REDIS_ERRORS as error:
                self.error = error
                self._last.clear()
                _wake_all(self._topics)
                await asyncio.sleep(_PAUSE)
            else:
                self.error = None

    async def _look(self) -> None:
        """Wait for the next events, and wake who waits for them."""
        await self._learn_last([topic for topic in self._topics if topic not in self._last])
        known = {self._redis.key.topic(topic): topic for topic in self._topics if topic in self._last}
        if not known:
            return
        positions: Any = {stream: self._last[topic] for stream, topic in known.items()}
        reply: Any = await self._redis.xread(positions, count=1, block=_BLOCK_MS)
        if reply:
            await self._learn_last([known[stream.decode()] for stream, _ in reply])
            await asyncio.sleep(_GATHER)

    async def _learn_last(self, topics: Sequence[str]) -> None:
        """Learn the last entry of each topic, and wake who waits for it; a topic without a stream is not watched."""
        if not topics:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for topic in topics:
                pipe.xrevrange(self._redis.key.topic(topic), count=1)
            replies = await pipe.execute(raise_on_error=False)
        for topic, reply in zip(topics, replies, strict=True):
            watched = self._topics.get(topic)
            if watched is None:  # another shard has forgotten it
                continue
            if isinstance(reply, ResponseError):
                del self._topics[topic]  # its readers tell why
            elif isinstance(reply, Exception):
                raise reply
            else:
                self._last[topic] = reply[0][0].decode() if reply else self._last.get(topic, "0-0")
            watched.wake()

    def _forget_unused(self) -> None:
        now = asyncio.get_running_loop().time()
        for topic, watched in list(self._topics.items()):
            if now - watched.asked_at > _FORGET:
                del self._topics[topic]
        for topic in self._last.keys() - self._topics.keys():
            del self._last[topic]


def _wake_all(topics: Mapping[str, _Watched]) -> None:
    for watched in topics.values():
        watched.wake()
