"""A topic, members of its groups as functions and as processes that kill themselves at a chosen step."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.consumer import consume, consume_sync
from relay.store.fixed_keys import shard_prefix
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.consumer import Event
    from relay.store.driver.client import Redis

STREAM = "relay:topic:support"
DEAD = "relay:dead:support:g"
PLACES = "relay:topic:support:places"
KINDS = ("async", "blocking")
SHARDS = 4
STREAMS = tuple(f"{shard_prefix('relay', shard)}:topic:support" for shard in range(SHARDS))
"""The streams of the topic, if the relay has four shards."""


async def feed(redis: Redis, *ids: str, chat: str = "") -> None:
    """Add events to the topic."""
    async with redis.pipeline(transaction=False) as pipe:
        for event_id in ids:
            pipe.xadd(STREAM, {"id": event_id, "type": "x", "chat": chat, "at": "1", "body": "{}"})
        await pipe.execute()


async def feed_shard(redis: Redis, shard: int, *ids: str, chat: str = "") -> None:
    """Add events to the topic on one of four shards."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.set("relay:shards", SHARDS)
        for event_id in ids:
            pipe.xadd(STREAMS[shard], {"id": event_id, "type": "x", "chat": chat, "at": "1", "body": "{}"})
        await pipe.execute()


async def feed_shards(redis: Redis, *ids: str) -> None:
    """Add events to the topic on four shards, in turn."""
    for shard in range(SHARDS):
        await feed_shard(redis, shard, *ids[shard::SHARDS])


async def pending_by_shard(redis: Redis, group: str = "g") -> list[int]:
    """Return how many events of a group are not acknowledged on each shard."""
    return [(await redis.xpending(stream, group))["pending"] for stream in STREAMS]


async def none_pending_on_shards(redis: Redis) -> bool:
    """Return True if every event is acknowledged on every shard."""
    return not any(await pending_by_shard(redis))


async def pending(redis: Redis, group: str = "g") -> int:
    """Return how many events of a group are not acknowledged."""
    count: int = (await redis.xpending(STREAM, group))["pending"]
    return count


async def dead_letters(redis: Redis) -> list[dict[str, str]]:
    """Return the dead letters of the group."""
    rows = await redis.xrange(DEAD)
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]


async def none_pending(redis: Redis) -> bool:
    """Return True if every event is acknowledged."""
    return await pending(redis) == 0


class Taken(NamedTuple):
    """An event that a member got."""

    id: str
    deliveries: int


async def take(kind: str, source: Any, count: int, member: str = "m", **options: Any) -> list[Taken]:
    """Return the first `count` events that a member of the given kind gets."""
    async with asyncio.timeout(20):
        if kind == "blocking":
            return await asyncio.to_thread(_take_blocking, source, count, member, options)
        taken: list[Taken] = []
        async with consume(source, topic="support", group="g", member=member, **options) as events:
            async for event in events:
                taken.append(Taken(event.id, event.deliveries))
                if len(taken) == count:
                    break
        return taken


def _take_blocking(source: Any, count: int, member: str, options: dict[str, Any]) -> list[Taken]:
    taken: list[Taken] = []
    with consume_sync(source, topic="support", group="g", member=member, **options) as events:
        for event in events:
            taken.append(Taken(event.id, event.deliveries))
            if len(taken) == count:
                break
    return taken


class Reader:
    """A member of either kind, in a loop or with `run`."""

    def __init__(self, kind: str, url: str, how: str, **options: Any) -> None:
        self.seen: list[str] = []
        self.consumer: Any = None
        self._kind, self._url, self._how = kind, url, how
        self._options = {"topic": "support", "group": "g", **options}

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read meanwhile."""
        reading = asyncio.create_task(self.read())
        try:
            yield
        finally:
            await eventually(lambda: self.consumer is not None or reading.done())
            if self.consumer is not None:
                self.consumer.stop()
            await reading

    def has(self, ids: tuple[str, ...]) -> bool:
        return set(self.seen) >= set(ids)

    async def read(self) -> None:
        if self._kind == "blocking":
            await asyncio.to_thread(self._read_blocking)
            return
        async with consume(self._url, **self._options) as self.consumer:
            if self._how == "run":
                await self.consumer.run(self._handle, concurrency=2)
            else:
                async for event in self.consumer:
                    self.seen.append(event.id)

    async def _handle(self, event: Event) -> None:
        self.seen.append(event.id)

    def _read_blocking(self) -> None:
        with consume_sync(self._url, **self._options) as self.consumer:
            if self._how == "run":
                self.consumer.run(lambda event: self.seen.append(event.id), concurrency=2)
            else:
                for event in self.consumer:
                    self.seen.append(event.id)


class Ended(NamedTuple):
    """The end of a member's process."""

    code: int | None
    begun: list[Taken]
    """Events whose handler began."""


async def run_member(url: str, kind: str = "async", **plan: Any) -> Ended:
    """Run a member in a process of its own until it ends; see `tests.consumer.process` for the plan."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.consumer.process", url, kind, json.dumps(plan)), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode, list(_taken(out)))


def _taken(out: bytes) -> Iterator[Taken]:
    for line in out.decode().splitlines():
        event_id, _, deliveries = line.partition(" ")
        yield Taken(event_id, int(deliveries))


def shown(event: Event) -> str:
    """Return the line about an event that a member's process prints."""
    return f"{event.id} {event.deliveries}"
