"""From a name to a connection: the addresses that are tried, and the cache of lookups."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from relay.core.net.lookups import LookupFailed
from relay.net.dns import Dns
from relay.net.resolver import Resolver
from tests.certificates import Authority
from tests.dns_server import dns_server
from tests.support import TIMEOUT, eventually, raw_server
from tests.workers.transport.exchanging import OK, Scripted, destination, exchange
from workers.transport.connection import NoResponse
from workers.transport.pool import ConnectionPools

if TYPE_CHECKING:
    from pathlib import Path

    from relay.core.net.lookups import AddressInfo
    from workers.transport.connection import Response


class Names(Dns):
    """A DNS of one name that a test can delay."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.failure = LookupFailed("Domain name not found", is_final=True, is_ours=False)
        self.asked = 0
        self.released = asyncio.Event()
        self.released.set()

    async def lookup(self, _: str, port: int) -> list[AddressInfo]:
        self.asked += 1
        await self.released.wait()
        if not self.addresses:
            raise self.failure
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses
        ]

    async def is_alive(self) -> bool:
        return not self.failure.is_ours

    async def aclose(self) -> None:
        """Do nothing."""


def pools(names: Names) -> ConnectionPools:
    return ConnectionPools(resolver=Resolver(names))


async def test_unknown_name_is_an_error() -> None:
    async with pools(Names()) as connections:
        with pytest.raises(NoResponse, match=r"^no connection to nowhere:1: Domain name not found$"):
            await exchange(connections.pool_for(destination(1, host="nowhere")))


async def test_each_address_of_a_name_is_tried() -> None:
    server = Scripted([OK])
    async with raw_server(server.serve) as port, pools(Names("127.0.0.2", "::1", "127.0.0.1")) as connections:
        assert (await exchange(connections.pool_for(destination(port, host="localhost")))).status == 200


async def test_next_address_is_tried_after_a_failed_handshake(tmp_path: Path) -> None:
    authority = Authority()
    serving = authority.server_context(tmp_path)
    servers = [Scripted([OK]), Scripted([OK])]
    bad = await asyncio.start_server(servers[0].serve, "127.0.0.2", 0)
    port = bad.sockets[0].getsockname()[1]
    good = await asyncio.start_server(servers[1].serve, "127.0.0.1", port, ssl=serving)
    context = ssl.create_default_context(cadata=authority.pem)
    context.check_hostname = False
    async with bad, good, pools(Names("127.0.0.2", "127.0.0.1")) as connections:
        pool = connections.pool_for(destination(port, context, host="localhost"))
        assert (await exchange(pool, connect=0.5)).status == 200


def addresses_of(found: list[AddressInfo]) -> list[str]:
    return [address[0] for *_, address in found]


async def test_concurrent_lookups_of_a_name_share_one_query() -> None:
    names = Names("127.0.0.1")
    names.released.clear()
    async with Resolver(names) as resolver:
        first, second = (asyncio.create_task(resolver.resolve("localhost", 1, 5.0)) for _ in range(2))
        await eventually(lambda: names.asked)
        first.cancel()
        names.released.set()
        assert (await second)[0][4] == ("127.0.0.1", 1)
        assert (await resolver.resolve("localhost", 2, 5.0))[0][4] == ("127.0.0.1", 2)
        assert names.asked == 1


class Clock:
    """Seconds that a test adds to the loop's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop, self.ahead = asyncio.get_running_loop(), 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self.ahead)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_lookup_result_is_cached_for_30_seconds(clock: Clock) -> None:
    names = Names("127.0.0.1")
    async with Resolver(names) as resolver:
        for ahead, asked in ((0.0, 1), (25.0, 1), (31.0, 2)):
            clock.ahead = ahead
            await resolver.resolve("localhost", 1, 5.0)
            assert names.asked == asked


async def test_final_answer_is_cached_for_5_seconds_despite_a_stale_result(clock: Clock) -> None:
    names = Names("127.0.0.1")
    async with Resolver(names) as resolver:
        await resolver.resolve("localhost", 1, 5.0)
        names.addresses = ()
        for ahead, asked in ((31.0, 2), (33.0, 2), (37.0, 3)):
            clock.ahead = ahead
            with pytest.raises(LookupFailed, match="not found"):
                await resolver.resolve("localhost", 1, 5.0)
            assert names.asked == asked


async def test_failure_that_is_not_final_is_not_cached() -> None:
    names = Names()
    names.failure = LookupFailed("server failure", is_final=False, is_ours=False)
    async with Resolver(names) as resolver:
        for asked in (1, 2):
            with pytest.raises(LookupFailed, match="server failure"):
                await resolver.resolve("localhost", 1, 5.0)
            assert names.asked == asked


@pytest.mark.parametrize("is_silent", [True, False])
async def test_stale_result_is_used_for_an_hour_if_no_refresh_succeeds(clock: Clock, *, is_silent: bool) -> None:
    names = Names("127.0.0.1")
    async with Resolver(names) as resolver:
        await resolver.resolve("localhost", 1, 5.0)
        names.addresses = ()
        names.failure = LookupFailed("server failure", is_final=False, is_ours=False)
        if is_silent:
            names.released.clear()
        for ahead in (31.0, 3500.0):
            clock.ahead = ahead
            assert addresses_of(await resolver.resolve("localhost", 1, 0.1)) == ["127.0.0.1"]
        clock.ahead = 3700.0
        with pytest.raises(LookupFailed):
            await resolver.resolve("localhost", 1, 0.1)


@pytest.mark.parametrize("is_ours", [True, False])
async def test_lookup_ends_within_the_callers_deadline(*, is_ours: bool) -> None:
    names = Names()
    names.failure.is_ours = is_ours
    names.released.clear()
    async with Resolver(names) as resolver:
        with pytest.raises(LookupFailed, match="does not answer") as caught:
            await resolver.resolve("localhost", 1, 0.1)  # else it waits for ever
        assert caught.value.is_ours is is_ours


async def test_eight_silent_name_servers_do_not_delay_a_healthy_host() -> None:
    async with dns_server() as dns:
        resolver = Resolver(Dns(["127.0.0.1"], udp_port=dns.port, tcp_port=dns.port))
        async with ConnectionPools(resolver=resolver) as connections:

            def ask(connect: float) -> list[asyncio.Task[Response]]:
                silent = [connections.pool_for(destination(1, host=f"silent{number}.test")) for number in range(8)]
                return [asyncio.create_task(exchange(pool, connect=connect)) for pool in silent for _ in range(20)]

            waiting = ask(connect=TIMEOUT)
            await eventually(lambda: dns.asked["silent7"])
            for number in range(50):
                assert addresses_of(await resolver.resolve(f"healthy{number}.test", 80, TIMEOUT)) == ["127.0.0.1"]
            assert not any(task.done() for task in waiting)
            failures = await asyncio.gather(*ask(connect=0.2), return_exceptions=True)
            assert {str(failure).partition(": ")[2] for failure in failures} == {"the name server does not answer"}
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
