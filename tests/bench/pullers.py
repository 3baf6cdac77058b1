"""Readers of a topic, each a process that prints its result as JSON: `relay.consumer`, and bare loops on redis-py.

python -m tests.bench.pullers bare REDIS_URL GROUP COUNT             XREADGROUP COUNT 100 and the XACK of the batch
                                                                     before, in one pipeline
python -m tests.bench.pullers bare-sync REDIS_URL GROUP COUNT        the same without asyncio
python -m tests.bench.pullers each REDIS_URL GROUP COUNT MEMBERS     `async for`, by members in one process
python -m tests.bench.pullers each-sync REDIS_URL GROUP COUNT        `for`
python -m tests.bench.pullers batches REDIS_URL GROUP COUNT          `batches`
python -m tests.bench.pullers at-once REDIS_URL GROUP COUNT AT_ONCE  `run`, by a handler that returns at once
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

import redis
import redis.asyncio

from relay.consumer import consume, consume_sync
from relay.process.event_loop import run
from tests.bench.floors import TOPIC
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.consumer import Consumer, Event, SyncConsumer

    Loop = Callable[..., Awaitable[None] | None]

STREAM = KEYS.topic(TOPIC)
_BATCH = 100


async def bare(url: str, group: str, count: int) -> None:
    """Read `count` events."""
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.xgroup_create(STREAM, group, id="0")
        CLOCK.start()
        handled: list[bytes] = []
        seen = 0
        while seen < count or handled:
            async with client.pipeline(transaction=False) as pipe:
                if handled:
                    pipe.xack(STREAM, group, *handled)
                pipe.xreadgroup(group, "member", {STREAM: ">"}, count=_BATCH)
                *_, reply = await pipe.execute()
            handled = [entry for entry, _ in reply[0][1]] if reply else []
            seen += len(handled)
        CLOCK.stop()


def bare_sync(url: str, group: str, count: int) -> None:
    """Read `count` events, without asyncio."""
    with redis.Redis.from_url(url) as client:
        client.xgroup_create(STREAM, group, id="0")
        CLOCK.start()
        handled: list[bytes] = []
        seen = 0
        while seen < count or handled:
            with client.pipeline(transaction=False) as pipe:
                if handled:
                    pipe.xack(STREAM, group, *handled)
                pipe.xreadgroup(group, "member", {STREAM: ">"}, count=_BATCH)
                *_, reply = pipe.execute()
            handled = [entry for entry, _ in reply[0][1]] if reply else []
            seen += len(handled)
        CLOCK.stop()


async def each(url: str, group: str, count: int, members: int) -> None:
    """Read `count` events with members of one group that handle one after the other."""
    left = Left(count)
    have_joined = asyncio.Event()

    async def read(number: int) -> None:
        async with consume(url, topic=TOPIC, group=group, member=f"member-{number}") as events:
            left.members.append(events)
            if len(left.members) == members:
                CLOCK.start()
                have_joined.set()
            await have_joined.wait()
            async for _ in events:
                left.handle()

    await asyncio.gather(*map(read, range(members)))


async def batches(url: str, group: str, count: int) -> None:
    """Read `count` events in batches of a hundred."""
    left = Left(count)
    async with consume(url, topic=TOPIC, group=group) as events:
        left.members.append(events)
        CLOCK.start()
        async for batch in events.batches(_BATCH):
            left.handle(len(batch))


async def at_once(url: str, group: str, count: int, concurrency: int) -> None:
    """Read `count` events with one member that handles several at a time."""
    left = Left(count)

    async def handle(_: Event) -> None:
        left.handle()

    async with consume(url, topic=TOPIC, group=group) as events:
        left.members.append(events)
        CLOCK.start()
        await events.run(handle, concurrency=concurrency)


def each_sync(url: str, group: str, count: int) -> None:
    """Read `count` events with the blocking consumer."""
    left = Left(count)
    with consume_sync(url, topic=TOPIC, group=group) as events:
        left.members.append(events)
        CLOCK.start()
        for _ in events:
            left.handle()


class Left:
    """The number of events that are left; stops the members of the group when none is."""

    def __init__(self, count: int) -> None:
        self.members: list[Consumer | SyncConsumer] = []
        self._count = count

    def handle(self, count: int = 1) -> None:
        """Count events that were handled."""
        self._count -= count
        if self._count <= 0:
            CLOCK.stop()
            for member in self.members:
                member.stop()


class Clock:
    """The time and the CPU time of this process from when all have joined until the last event is handled, in seconds.

    Acknowledging the last batch, or a part of it, comes after it.
    """

    def start(self) -> None:
        """Begin."""
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """End."""
        self.measured = {"seconds": time.perf_counter() - self._began, "cpu": time.process_time() - self._cpu}


CLOCK = Clock()


async def timed(what: Loop, *arguments: str | int) -> dict[str, float]:
    """Return what a loop takes."""
    reading = what(*arguments)
    if reading is not None:
        await reading
    return CLOCK.measured


LOOPS: dict[str, Loop] = {
    "bare": bare,
    "bare-sync": bare_sync,
    "each": each,
    "each-sync": each_sync,
    "batches": batches,
    "at-once": at_once,
}

if __name__ == "__main__":
    name, url, group, *numbers = sys.argv[1:]
    print(json.dumps(run(timed(LOOPS[name], url, group, *map(int, numbers)))))  # noqa: T201  for the parent
