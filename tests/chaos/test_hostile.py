from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from tests.chaos.hostile import TRICKS
from tests.chaos.wire import read_message
from tests.support import raw_server
from tests.workers.transport.exchanging import destination
from workers.transport.connection import NoResponse
from workers.transport.pool import ConnectionPools, Timeouts

TIMEOUTS = Timeouts(3.0, 0.3)
HEALTHY = 422


def request_for(path: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode()


async def test_tricks_stay_with_the_hostile_subscription() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.transport.is_closing():
            path = (await read_message(reader)).path.removeprefix("/")
            if path == "healthy":
                writer.write(f"HTTP/1.1 {HEALTHY} No\r\nContent-Length: 0\r\n\r\n".encode())
            else:
                await TRICKS[int(path)](reader, writer)

    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: None if isinstance(context.get("exception"), (OSError, EOFError)) else errors.append(context)
    )
    async with raw_server(serve) as port, ConnectionPools(2.0) as connections:
        healthy = connections.pool_for(destination(port, subscription="healthy"))

        async def provoke(trick: int) -> None:
            pool = connections.pool_for(destination(port, subscription=f"hostile-{trick}"))
            for _ in range(2):
                with contextlib.suppress(NoResponse):
                    await pool.exchange(request_for(f"/{trick}"), TIMEOUTS)
                assert (await healthy.exchange(request_for("/healthy"), Timeouts(3.0, 10.0))).status == HEALTHY

        await asyncio.gather(*map(provoke, range(len(TRICKS))))
    assert errors == []
