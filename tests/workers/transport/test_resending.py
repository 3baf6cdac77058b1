"""A request whose kept connection is lost: sent again once, on another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.support import raw_server
from tests.workers.transport.exchanging import OK, Scripted, destination, exchange, read_request
from workers.transport.connection import DeadlineExceeded, NoResponse
from workers.transport.pool import ConnectionPools

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@dataclass
class Closing:
    """A server that answers the first request of a connection and loses the connection at the second."""

    answers: bytes = OK[0]
    lost: bytes = b""
    """Sent before the connection is lost."""
    refuses: bool = False
    """True if it loses every later connection at its first request."""
    requests: int = 0
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for number in range(2):
            await read_request(reader)
            self.requests += 1
            is_lost = number == 1 or (self.refuses and self.connections > 1)
            writer.write(self.lost if is_lost else self.answers)
            if is_lost:
                return


async def test_request_on_a_closing_connection_is_resent_once() -> None:
    server = Closing()
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        assert not (await exchange(pool)).is_resent
        response = await exchange(pool)
        assert (response.status, response.is_resent) == (200, True)
        assert (server.requests, server.connections) == (3, 2)


async def test_request_is_not_resent_twice() -> None:
    server = Closing(refuses=True)
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        await exchange(pool)
        with pytest.raises(NoResponse, match="closed the connection") as caught:
            await exchange(pool)
        assert caught.value.is_resent
        assert (server.requests, server.connections) == (3, 2)


async def test_request_on_a_new_connection_is_not_resent() -> None:
    server = Scripted([()])
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        with pytest.raises(NoResponse, match="closed the connection") as caught:
            await exchange(connections.pool_for(destination(port)))
        assert not caught.value.is_resent
    assert server.connections == 1


async def test_request_is_not_resent_if_a_response_has_begun() -> None:
    server = Closing(lost=b"H")
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        await exchange(pool)
        with pytest.raises(NoResponse, match="closed the connection"):
            await exchange(pool)
        assert server.requests == 2


async def test_timeout_on_a_kept_connection_is_not_resent() -> None:
    server = Scripted([OK, ()], stays=True)
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        await exchange(pool)
        with pytest.raises(DeadlineExceeded):
            await exchange(pool, total=0.05)
    assert server.connections == 1


@pytest.mark.parametrize(
    "test",
    [
        test_request_on_a_closing_connection_is_resent_once,
        test_request_is_not_resent_twice,
        test_request_is_not_resent_if_a_response_has_begun,
    ],
)
def test_behaviour_is_the_same_on_uvloop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
