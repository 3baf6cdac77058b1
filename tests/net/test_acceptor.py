"""Accepting connections: a shortage of descriptors is logged and survived."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from structlog.testing import capture_logs

import relay.net.acceptor
from relay.net.acceptor import Acceptor, open_listeners
from relay.net.listen_address import Listen
from relay.process.event_loop import run
from tests.support import TIMEOUT, eventually, hang_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

HERE = Listen(host="127.0.0.1", port=0)


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(b"hello")
        transport.close()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Leave the process without descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        used = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208  names are numbers
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(used) + 1, hard))
        with suppress(OSError):
            while True:
                taken.append(os.dup(taken[0]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_shortage_of_descriptors_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on uvloop, as in production."""
    monkeypatch.setattr(relay.net.acceptor, "_PAUSE", 0.05)

    async def exhaust() -> None:
        [listener] = await open_listeners(HERE)
        acceptor = Acceptor(listener, Greeting)
        for _ in range(3):
            with socket.socket() as waits:
                waits.setblocking(False)  # noqa: FBT003  socket's signature
                with no_descriptor_left(), capture_logs() as logs:
                    waits.connect_ex(("127.0.0.1", acceptor.port))
                    await eventually(lambda: logs)
                assert logs[0]["event"] == "connections.not_accepted"
                assert logs[0]["reason"] == "Too many open files"
                async with asyncio.timeout(TIMEOUT):
                    assert await asyncio.get_running_loop().sock_recv(waits, 5) == b"hello"
        await acceptor.close()

    run(exhaust())


async def test_connections_that_wait_are_served_at_the_end() -> None:
    [listener] = await open_listeners(HERE)
    acceptor = Acceptor(listener, Greeting)
    with socket.socket() as waits:
        waits.connect(("127.0.0.1", acceptor.port))  # completed by the kernel: the loop has not run
        await acceptor.close()
        waits.setblocking(False)  # noqa: FBT003  socket's signature
        async with asyncio.timeout(TIMEOUT):
            assert await asyncio.get_running_loop().sock_recv(waits, 5) == b"hello"


async def test_host_name_is_listened_on_at_each_address() -> None:
    for listener in await open_listeners(Listen(host="localhost", port=0)):
        acceptor = Acceptor(listener, Greeting)
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        assert await reader.read() == b"hello"
        await hang_up(writer)
        await acceptor.close()
