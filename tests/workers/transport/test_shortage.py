"""Shortages of our own: no outcome for the subscriber, and never for all lanes at once."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import ssl
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from relay.core.delivery.outcome import Shortage
from relay.core.net.lookups import LookupFailed
from relay.net.dns import Dns
from relay.net.resolver import Resolver
from relay.net.tls import _context, context_for
from relay.process.subprocesses import python
from tests.dns_server import dns_server
from tests.support import eventually, raw_server, reserve_port
from tests.workers.transport.exchanging import OK, Scripted, destination, exchange
from tests.workers.transport.test_addresses import Names
from tests.workers.transport.test_sender import ENDPOINT, delivery, subscription
from workers.transport.connection import NoResponse
from workers.transport.pool import ConnectionPools
from workers.transport.sender import Sender
from workers.transport.shortage import Budget, OurShortage, most_connections, shortage_in

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Take every descriptor that the process may have."""
    gc.collect()  # what it closes meanwhile could be opened again
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 32, hard))
    try:
        while True:
            taken.append(os.dup(0))
    except OSError as error:
        assert error.errno == errno.EMFILE  # noqa: PT017  it is the end of the loop
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


async def test_process_without_descriptors_makes_no_attempt() -> None:
    server = Scripted([OK], stays=True)
    async with raw_server(server.serve) as port, ConnectionPools(max_connections=100) as connections:
        lane = Sender(connections, time.time).sender_for(subscription(f"http://127.0.0.1:{port}/"), ENDPOINT)
        with no_descriptors():
            shortage = await lane.attempt(delivery(b"{}"), 1)
            assert isinstance(shortage, Shortage)
            assert shortage.reason.lower() == "too many open files"  # libuv begins it in lower case
        assert not isinstance(await lane.attempt(delivery(b"{}"), 1), Shortage)
    assert server.connections == 1


def test_process_without_descriptors_makes_no_attempt_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_process_without_descriptors_makes_no_attempt())


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN]
)
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
async def test_failed_connect_for_want_of_ours_is_a_shortage(
    monkeypatch: pytest.MonkeyPatch, number: int, addresses: list[str]
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fail)
    monkeypatch.setattr("workers.transport.opening.start_connection", fail)
    async with ConnectionPools(resolver=Resolver(Names(*addresses))) as connections:
        with pytest.raises(OurShortage, match=os.strerror(number)):
            await exchange(connections.pool_for(destination(1, host="localhost")))


async def test_socket_that_cannot_be_made_is_a_shortage_among_other_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(addresses: list[Any], *, socket_factory: Any, **_: object) -> None:
        monkeypatch.setattr("workers.transport.opening.socket.socket", no_socket)
        for address in addresses:
            try:
                socket_factory(address)
            except OSError as error:
                raise OSError("Multiple exceptions: refused, no descriptors") from error

    def no_socket(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr("workers.transport.opening.start_connection", fail)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    async with ConnectionPools(resolver=Resolver(Names("127.0.0.1", "127.0.0.2"))) as connections:
        with pytest.raises(OurShortage, match="Too many open files"):
            await exchange(connections.pool_for(destination(1, host="localhost")))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError(errno.EHOSTUNREACH, "no route"),
        LookupFailed("server failure", is_final=False, is_ours=False),
        ssl.SSLError(errno.EAGAIN, "of TLS"),
        TimeoutError(),
        None,
    ],
)
def test_error_of_the_subscriber_is_no_shortage(error: OSError | None) -> None:
    assert shortage_in(error) is None


async def test_dns_that_answers_nothing_is_a_shortage() -> None:
    async with dns_server() as server:
        server.is_silent = True
        dns = Dns(["127.0.0.1"], udp_port=server.port, tcp_port=server.port)
        async with ConnectionPools(resolver=Resolver(dns)) as connections:
            pool = connections.pool_for(destination(1, host="good.test"))
            with pytest.raises(OurShortage, match="DNS: the name server does not answer"):
                await exchange(pool, connect=0.2)
            server.is_silent = False
            with pytest.raises(NoResponse, match="no connection"):
                await exchange(connections.pool_for(destination(reserve_port(), host="silent.test")), connect=0.2)


async def test_unreadable_authorities_are_a_shortage_and_are_not_kept() -> None:
    _context.cache_clear()
    async with ConnectionPools(max_connections=100) as connections:
        lane = Sender(connections, time.time).sender_for(subscription("https://127.0.0.1:1/"), ENDPOINT)
        with no_descriptors():
            assert await lane.attempt(delivery(b"{}"), 1) == Shortage("TLS: Too many open files")
        assert not isinstance(await lane.attempt(delivery(b"{}"), 1), Shortage)
    assert context_for(ENDPOINT).cert_store_stats() == ssl.create_default_context().cert_store_stats()


async def test_hanging_lane_leaves_connections_to_the_others() -> None:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = Scripted([OK] * 3, stays=True)
    async with (
        raw_server(hang) as hung_port,
        raw_server(server.serve) as port,
        ConnectionPools(max_connections=8) as connections,
    ):
        hung, healthy = (
            connections.pool_for(destination(where, subscription=name))
            for where, name in ((hung_port, "a"), (port, "b"))
        )
        hanging = [asyncio.create_task(exchange(hung)) for _ in range(50)]
        await eventually(lambda: sum(task.done() for task in hanging) == 50 - 6)
        assert {type(task.exception()) for task in hanging if task.done()} == {OurShortage}
        for _ in range(3):
            assert (await exchange(healthy)).status == 200
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)
        await eventually(lambda: connections._budget._total == len(connections._open))


async def test_failed_connections_are_given_back() -> None:
    async with ConnectionPools(max_connections=2) as connections:
        pool = connections.pool_for(destination(reserve_port()))
        for _ in range(5):
            with pytest.raises(NoResponse):
                await exchange(pool)


def test_part_of_each_lane_is_kept_free_for_it() -> None:
    budget = Budget(100)
    for _ in range(60):  # its own ten, and the shared half
        budget.take("greedy", 5)
    with pytest.raises(OurShortage, match="no descriptor is left"):
        budget.take("greedy", 5)
    for name in ("b", "c", "d", "e"):
        for _ in range(10):
            give_back = budget.take(name, 5)
        with pytest.raises(OurShortage):
            budget.take(name, 5)
    give_back()
    give_back()
    assert budget._total == 99


@pytest.mark.parametrize(
    ("limit", "shards", "most"),
    [(96, 1, 64), (192, 4, 88), (1024, 1, 768), (1024, 4, 768), (1024, 64, 480), (40, 1, 8), (20, 64, 1)],
)
def test_connections_leave_descriptors_to_redis_on_each_shard(
    monkeypatch: pytest.MonkeyPatch, limit: int, shards: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert most_connections(shards) == most


def test_soft_limit_of_descriptors_is_raised_to_the_hard_one() -> None:
    imports = "import resource; from relay.process.resources.descriptors import raise_descriptor_limit"
    code = "raise_descriptor_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    command = [*python("x")[:2], "-c", f"{imports}; {code}"]
    done = subprocess.run(  # noqa: S603  our own words
        ["/bin/sh", "-c", 'ulimit -Sn 64; ulimit -Hn 512; exec "$@"', "sh", *command],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "(512, 512)"
