"""Floors of everything but servers: bare loops on the same libraries, each a process that prints its result as JSON.

python -m tests.bench.floors post URL COUNT CONCURRENCY    aiohttp's client, one session
python -m tests.bench.floors route REDIS_URL COUNT         XREADGROUP, a pipeline of two XADD, XACK and XDEL per event
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

import aiohttp

from relay.process.event_loop import run
from relay.store.driver.client import Redis
from tests.bench.events import event_body
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOPIC = "everything"
_BATCH = 100


async def post(url: str, count: int, concurrency: int) -> None:
    """POST `count` bodies."""
    body, numbers = event_body("floor"), iter(range(count))

    async def post_all(session: aiohttp.ClientSession) -> None:
        for _ in numbers:
            async with session.post(url, data=body) as answer:
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(post_all(session) for _ in range(concurrency)))


async def route(url: str, count: int) -> None:
    """Move `count` entries of the inbox into two streams."""
    async with Redis.from_url(url) as redis:
        await redis.xgroup_create(KEYS.inbox, "floor", id="0", mkstream=True)
        moved = 0
        while moved < count:
            ((_, rows),) = await redis.xreadgroup("floor", "consumer", {KEYS.inbox: ">"}, count=_BATCH)
            async with redis.pipeline(transaction=True) as pipe:
                for entry, fields in rows:
                    for topic in (KEYS.topic("one"), KEYS.topic("two")):
                        pipe.xadd(topic, fields)
                    pipe.xack(KEYS.inbox, "floor", entry)
                    pipe.xdel(KEYS.inbox, entry)
                await pipe.execute()
            moved += len(rows)


async def timed(what: Callable[..., Awaitable[None]], *arguments: str | int) -> dict[str, float]:
    """Return the time it took and the CPU time of this process, in seconds."""
    began, before = time.perf_counter(), time.process_time()
    await what(*arguments)
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - before}


if __name__ == "__main__":
    loops: dict[str, Callable[..., Awaitable[None]]] = {"post": post, "route": route}
    name, url, *numbers = sys.argv[1:]
    print(json.dumps(run(timed(loops[name], url, *map(int, numbers)))))  # noqa: T201  for the parent
