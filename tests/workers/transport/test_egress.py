"""Egress policy: no request reaches a forbidden address, whatever names resolve to."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.core.config.egress import Egress
from relay.core.config.endpoint import Endpoint
from relay.core.delivery.outcome import Outcome
from relay.net.dns import Dns
from relay.net.resolver import Resolver
from relay.store.lanes.lane import Lane
from tests.building import SECRET
from tests.dns_server import dns_server
from tests.support import eventually
from tests.workers.conftest import rules_for
from tests.workers.delivering import delivering, feed, ledger_of
from tests.workers.transport.test_sender import attempted, delivery, subscription
from workers.transport.pool import ConnectionPools
from workers.transport.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.core.delivery.outcome import Attempt
    from relay.core.net.lookups import AddressInfo
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink

EVERYWHERE = Egress()
ELSEWHERE = Egress(allow=("10.0.0.0/8",))


class Names(Dns):
    """A DNS with the addresses that a test sets."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []

    async def lookup(self, host: str, port: int) -> list[AddressInfo]:
        self.asked.append(host)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses[host]
        ]

    async def aclose(self) -> None:
        """Do nothing."""


@pytest.fixture
async def names() -> Names:
    return Names()


@pytest.fixture
async def connections(names: Names) -> AsyncIterator[ConnectionPools]:
    async with ConnectionPools(resolver=Resolver(names)) as connections:
        yield connections


@pytest.fixture
def sender(connections: ConnectionPools) -> Sender:
    return Sender(connections, time.time)


async def attempt(sender: Sender, url: str, egress: Egress = EVERYWHERE) -> Attempt:
    return attempted(
        await sender.sender_for(subscription(url), Endpoint((SECRET,), egress=egress)).attempt(delivery(b"{}"), 1)
    )


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "evil.example at 127.0.0.1 is loopback; write the address itself in the url"),
        ("::1", "evil.example at ::1 is loopback; write the address itself in the url"),
        ("::ffff:127.0.0.1", "is loopback"),
        ("169.254.169.254", "is a cloud metadata service"),
        ("64:ff9b::a9fe:a9fe", "is a cloud metadata service"),
        ("fe80::1%lo", "is link-local"),
        ("0.0.0.0", "is unspecified"),  # noqa: S104
    ],
)
async def test_name_that_resolves_to_a_forbidden_address_is_refused(
    sender: Sender, sink: Sink, names: Names, address: str, why: str
) -> None:
    names.addresses["evil.example"] = [address]
    made = await attempt(sender, f"http://evil.example:{sink.port}/")
    assert made.outcome is Outcome.UNREACHABLE
    assert made.detail.startswith("refused: ")
    assert why in made.detail
    assert sink.received == []


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "[::ffff:169.254.169.254]"]
)
async def test_odd_spelling_of_an_address_does_not_bypass_the_policy(sink: Sink, host: str) -> None:
    async with dns_server() as server:
        dns = Dns(["127.0.0.1"], udp_port=server.port, tcp_port=server.port)
        async with ConnectionPools(resolver=Resolver(dns)) as connections:
            made = await attempt(Sender(connections, time.time), f"http://{host}:{sink.port}/")
    assert made.outcome is Outcome.UNREACHABLE
    assert sink.received == []


async def test_only_checked_addresses_are_used_without_a_second_lookup(
    sender: Sender, sink: Sink, names: Names
) -> None:
    names.addresses["localhost"] = ["169.254.169.254", "127.0.0.1"]
    made = await attempt(sender, f"http://localhost:{sink.port}/")
    assert made.outcome is Outcome.DELIVERED
    assert names.asked == ["localhost"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_changed_policy_also_applies_to_open_connections(
    sender: Sender, sink: Sink, names: Names, host: str
) -> None:
    names.addresses["localhost"] = ["127.0.0.1"]
    url = f"http://{host}:{sink.port}/"
    made = [(await attempt(sender, url, egress)).outcome for egress in (EVERYWHERE, ELSEWHERE, EVERYWHERE)]
    assert made == [Outcome.DELIVERED, Outcome.UNREACHABLE, Outcome.DELIVERED]
    assert len(sink.received) == 2


async def test_attempt_under_the_former_policy_completes(
    sender: Sender, connections: ConnectionPools, sink: Sink
) -> None:
    arrived, released = asyncio.Event(), asyncio.Event()

    async def answer(_: Received) -> web.Response:
        arrived.set()
        await released.wait()
        return web.Response()

    sink.answer = answer
    former = asyncio.create_task(attempt(sender, sink.url))
    await arrived.wait()
    allowed = Egress(allow=("127.0.0.0/8",))
    latter = asyncio.create_task(attempt(sender, sink.url, allowed))
    await eventually(lambda: len(sink.received) == 2)
    released.set()
    assert [(await task).outcome for task in (former, latter)] == [Outcome.DELIVERED] * 2
    assert len(connections._open) == 2  # each policy has its own


async def test_proxy_of_the_environment_is_ignored(sender: Sender, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (await attempt(sender, sink.url)).outcome is Outcome.DELIVERED


async def test_refused_delivery_is_retried_once_relay_toml_allows_it(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink, names: Names
) -> None:
    names.addresses["localhost"] = ["127.0.0.1"]
    text = rules_for(sink, retry=str(["50ms"] * 200), bot="breaker = false").replace("127.0.0.1", "localhost")
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    rules_file.write_text(text + '\n[egress]\nallow = ["10.0.0.0/8"]\n')
    rules.reload()
    async with delivering(redis, rules, "bot"):
        await feed(redis, lane, "e1")
        await eventually(lane.next_due)
        assert sink.received == []
        rules_file.write_text(text)
        rules.reload()
        await eventually(lambda: sink.ids("/bot") == ["e1"])
    row = await ledger_of(redis, "bot")
    assert (row.delivered, row.dead) == (1, 0)
