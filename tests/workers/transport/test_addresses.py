"""From a name to a connection: the addresses that are tried, and the cache of lookups."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from relay.net.resolver import Resolver
from tests.certificates import Authority
from tests.support import eventually, raw_server
from tests.workers.transport.exchanging import OK, Scripted, destination, exchange
from workers.transport.connection import NoResponse
from workers.transport.pool import ConnectionPools

if TYPE_CHECKING:
    from pathlib import Path


class Names:
    """A DNS of one name that a test can delay."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0
        self.released = asyncio.Event()
        self.released.set()

    async def getaddrinfo(self, _: str, port: int, **__: Any) -> list[tuple[Any, ...]]:
        self.asked += 1
        await self.released.wait()
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses
        ]

    def use(self, monkeypatch: pytest.MonkeyPatch) -> Names:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.getaddrinfo)
        return self


async def test_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Names().use(monkeypatch)
    async with ConnectionPools() as connections:
        with pytest.raises(NoResponse, match=r"^no connection to nowhere:1: Name or service not known$"):
            await exchange(connections.pool_for(destination(1, host="nowhere")))


async def test_each_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Names("127.0.0.2", "::1", "127.0.0.1").use(monkeypatch)
    server = Scripted([OK])
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        assert (await exchange(connections.pool_for(destination(port, host="localhost")))).status == 200


async def test_next_address_is_tried_after_a_failed_handshake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = Authority()
    serving = authority.server_context(tmp_path)
    servers = [Scripted([OK]), Scripted([OK])]
    bad = await asyncio.start_server(servers[0].serve, "127.0.0.2", 0)
    port = bad.sockets[0].getsockname()[1]
    good = await asyncio.start_server(servers[1].serve, "127.0.0.1", port, ssl=serving)
    context = ssl.create_default_context(cadata=authority.pem)
    context.check_hostname = False
    Names("127.0.0.2", "127.0.0.1").use(monkeypatch)
    async with bad, good, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port, context, host="localhost"))
        assert (await exchange(pool, connect=0.5)).status == 200


async def test_concurrent_lookups_of_a_name_share_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names("127.0.0.1").use(monkeypatch)
    names.released.clear()
    resolver = Resolver()
    first, second = (asyncio.create_task(resolver.resolve("localhost", 1)) for _ in range(2))
    await eventually(lambda: names.asked)
    first.cancel()
    names.released.set()
    assert (await second)[0][4] == ("127.0.0.1", 1)
    await resolver.resolve("localhost", 1)
    assert names.asked == 1
    await resolver.resolve("localhost", 2)
    assert names.asked == 2


async def test_lookup_result_is_cached_and_a_failure_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names().use(monkeypatch)
    resolver = Resolver()
    for asked in (1, 2):
        with pytest.raises(OSError, match="not known"):
            await resolver.resolve("localhost", 1)
        assert names.asked == asked
    names.addresses = ("127.0.0.1",)
    for _ in range(2):
        await resolver.resolve("localhost", 1)
    assert names.asked == 3
    resolver = Resolver(cache_ttl=0.0)
    for _ in range(2):
        await resolver.resolve("localhost", 1)
    assert names.asked == 5
