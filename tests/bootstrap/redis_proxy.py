"""A TCP proxy in front of Redis: while open it forwards everything, while shut Redis appears to be down."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support import hang_up, raw_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True)
class RedisProxy:
    """A proxy for the connections to a Redis."""

    behind: str
    """The URL of the Redis."""
    url: str = ""
    is_open: bool = True
    refused: int = 0
    """The number of connections refused while the proxy was shut."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def shut(self) -> None:
        """Close every connection and refuse new ones."""
        self.is_open = False
        for writer in self._writers:
            writer.close()

    def open(self) -> None:
        """Accept connections again."""
        self.is_open = True

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection until it is closed."""
        if not self.is_open:
            self.refused += 1
            return
        parts = urlsplit(self.behind)
        inner_reader, inner_writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._writers |= {writer, inner_writer}
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            self._writers -= {writer, inner_writer}
            await hang_up(inner_writer)


@asynccontextmanager
async def proxy_to(redis_url: str) -> AsyncIterator[RedisProxy]:
    """Run a proxy on its own port while the context is open."""
    proxy = RedisProxy(redis_url)
    async with raw_server(proxy.pass_on) as port:
        parts = urlsplit(redis_url)
        proxy.url = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl()
        try:
            yield proxy
        finally:
            proxy.shut()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
