"""Clients of the API: one that pulls, and many that only watch.

python -m tests.bench.api_clients poll|stream URL TOKEN COUNT BATCH    # events of group `bench`; JSON when it has them
python -m tests.bench.api_clients watch URL TOKEN STREAMS POLLS        # until it is terminated
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic_core import from_json

from relay.process.event_loop import run, stop_on_signals
from relay.process.resources.precedence import give_way
from tests.bench.floors import TOPIC

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_GROUP = f"topics/{TOPIC}/groups/bench"
_POLL = 2.0  # seconds, as a page polls


async def poll(http: aiohttp.ClientSession, count: int, batch: int) -> None:
    """Receive and acknowledge `count` events, each request acknowledging the batch before."""
    got, cursor = 0, None
    while got < count or cursor is not None:
        query = {"limit": str(batch), **({"ack": cursor} if cursor else {})}
        async with http.get(f"{_GROUP}/events", params=query) as response:
            answer = from_json(await response.read())
        got, cursor = got + len(answer["events"]), answer["cursor"]


async def stream(http: aiohttp.ClientSession, count: int, batch: int) -> None:
    """Receive `count` events of a stream, and acknowledge each `batch` of them."""
    got, receipts = 0, []
    async with http.get(f"{_GROUP}/events/stream", params={"held": str(4 * batch)}) as response:
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            receipts.append(from_json(line[6:])["receipt"])
            got += 1
            if len(receipts) == batch or got == count:
                async with http.post(f"{_GROUP}/ack", json={"receipts": receipts}) as answer:
                    assert answer.status == 200, await answer.text()
                receipts.clear()
            if got == count:
                return


async def watch(http: aiohttp.ClientSession, streams: int, polls: int) -> None:
    """Keep tails open and poll lists, as pages do, until SIGTERM; print the number of events that were seen.

    Browsers run on other machines, so this process takes only CPU time that nothing else wants.
    """
    give_way(19)
    stop = stop_on_signals()
    seen = 0

    async def tail() -> None:
        nonlocal seen
        async with http.get(f"topics/{TOPIC}/events/stream") as response:
            assert response.status == 200, await response.text()
            async for chunk in response.content.iter_any():
                seen += chunk.count(b"event: event\n")

    async def look() -> None:
        while True:
            for path in ("topics", "subscriptions", "attempts"):
                async with http.get(path) as response:
                    await response.read()
            await asyncio.sleep(_POLL)

    tasks = [asyncio.create_task(tail()) for _ in range(streams)]
    tasks += [asyncio.create_task(look()) for _ in range(polls)]
    await stop.wait()
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [result for result in done if not isinstance(result, asyncio.CancelledError)]
    print(json.dumps({"seen": seen, "failures": list(map(repr, failures))}))  # noqa: T201  the answer


async def main() -> None:
    kind, url, token, first, second = sys.argv[1:]
    clients: dict[str, Callable[[aiohttp.ClientSession, int, int], Awaitable[None]]] = {
        "poll": poll,
        "stream": stream,
        "watch": watch,
    }
    options: Any = {"read_bufsize": 4 * 1024 * 1024, "timeout": aiohttp.ClientTimeout(total=None)}
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(f"{url}/api/v1/", headers=headers, connector=connector, **options) as http:
        began = time.perf_counter()
        await clients[kind](http, int(first), int(second))
        if kind != "watch":
            print(json.dumps({"seconds": time.perf_counter() - began}))  # noqa: T201  the answer


if __name__ == "__main__":
    run(main())
