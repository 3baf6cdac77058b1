from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from relay.core.net.lookups import LookupFailed
from relay.net.dns import Dns
from tests.dns_server import DnsServer, dns_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def asking(server: DnsServer, timeout: float = 2.0) -> AsyncIterator[Dns]:
    dns = Dns(["127.0.0.1"], timeout, udp_port=server.port, tcp_port=server.port)
    try:
        yield dns
    finally:
        await dns.aclose()


async def failure(dns: Dns, name: str) -> LookupFailed:
    with pytest.raises(LookupFailed) as caught:
        await dns.lookup(name, 80)
    return caught.value


async def test_name_resolves_to_its_addresses() -> None:
    async with dns_server() as server, asking(server) as dns:
        [(_, _, _, _, address)] = await dns.lookup("good.test", 443)
        assert address == ("127.0.0.1", 443)


async def test_hosts_file_is_honoured() -> None:
    async with dns_server() as server, asking(server) as dns:
        assert ("127.0.0.1", 80) in [address for *_, address in await dns.lookup("localhost", 80)]
        assert not server.asked


async def test_nonexistent_name_is_final() -> None:
    async with dns_server() as server, asking(server) as dns:
        error = await failure(dns, "none.test")
        assert (error.strerror, error.is_final, error.is_ours) == ("Domain name not found", True, False)


async def test_server_failure_for_a_name_is_not_final() -> None:
    async with dns_server() as server, asking(server) as dns:
        error = await failure(dns, "fail.test")
        assert (error.is_final, error.is_ours) == (False, False)


async def test_silent_names_do_not_delay_others() -> None:
    async with dns_server() as server, asking(server, 5.0) as dns:
        silent = [asyncio.create_task(failure(dns, f"silent{number}.test")) for number in range(200)]
        for number in range(50):
            await dns.lookup(f"good{number}.test", 80)
        assert not any(task.done() for task in silent)
        assert False in {(await task).is_ours for task in silent}  # not all, where the machine was silent too


async def test_silent_resolver_is_our_fault() -> None:
    async with dns_server() as server, asking(server, 0.7) as dns:
        await dns.lookup("good.test", 80)
        server.is_silent = True
        assert (await failure(dns, "silent.test")).is_ours
        server.is_silent = False
        await dns.lookup("good.test", 80)
        assert not (await failure(dns, "silent.test")).is_ours


async def test_missing_resolver_is_our_fault() -> None:
    async with dns_server() as server:
        nowhere = DnsServer(port=server.port)
    async with asking(nowhere) as dns:
        assert (await failure(dns, "good.test")).is_ours
