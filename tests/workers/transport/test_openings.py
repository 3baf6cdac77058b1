"""The pace at which connections are opened."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support import eventually, raw_server
from tests.workers.transport.exchanging import OK, destination, exchange, read_request
from workers.transport.connection import DeadlineExceeded
from workers.transport.openings import Openings, Turn
from workers.transport.pool import ConnectionPools
from workers.transport.shortage import OurShortage

if TYPE_CHECKING:
    from workers.transport.connection import Connection
    from workers.transport.opening import Destination


class Server:
    """A server that responds at once, or when it may."""

    def __init__(self) -> None:
        self.connections = self.requests = 0
        self.may_respond = asyncio.Event()
        self.may_respond.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await read_request(reader)
                self.requests += 1
                await self.may_respond.wait()
                writer.write(OK[0])


class WaitingPool:
    """A pool with requests that wait, and the turns that they get."""

    def __init__(self, requests: int) -> None:
        self.opening, self.is_queued = 0, False
        self._futures = [asyncio.get_running_loop().create_future() for _ in range(requests)]
        self._next = iter(self._futures)

    @property
    def turns(self) -> list[Turn]:
        return [future.result() for future in self._futures if future.done()]

    def next_waiting(self) -> asyncio.Future[Connection | Turn] | None:
        return next(self._next, None)


class HangingPools(ConnectionPools):
    """Pools of which some connections are never opened, and those to `bot` are."""

    async def open(self, destination: Destination, within: float) -> Connection:
        if destination.subscription != "bot" and not self.is_closed:
            await asyncio.Event().wait()
        return await super().open(destination, within)


async def test_burst_opens_fewer_connections_than_it_has_requests() -> None:
    server = Server()
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        responses = await asyncio.gather(*(exchange(pool) for _ in range(100)))
        assert [response.status for response in responses] == [200] * 100
        assert server.connections < 80  # 52 on an idle machine
        assert len(pool.idle) == server.connections


async def test_few_turns_begin_in_a_round_of_the_event_loop() -> None:
    pools = [WaitingPool(10) for _ in range(3)]
    openings = Openings()
    for pool in pools:
        openings.queue(pool)
    begun = []
    for _ in range(8):
        begun.append(sum(len(pool.turns) for pool in pools))
        await asyncio.sleep(0)
    assert begun == [4, 8, 12, 16, 20, 24, 28, 30]
    assert [len(pool.turns) for pool in pools] == [10, 10, 10]
    for pool in pools:
        for turn in pool.turns:
            turn.end()


async def test_requests_to_a_slow_server_are_all_in_flight() -> None:
    server = Server()
    server.may_respond.clear()
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        exchanges = [asyncio.create_task(exchange(pool)) for _ in range(100)]
        await eventually(lambda: server.requests == 100)
        server.may_respond.set()
        await asyncio.gather(*exchanges)


async def test_hosts_that_do_not_respond_delay_the_others_by_a_turn_at_most() -> None:
    server = Server()
    async with raw_server(server.serve) as port, HangingPools() as connections:
        pools = [connections.pool_for(destination(port, subscription=f"hanging-{number}")) for number in range(10)]
        hanging = [asyncio.create_task(exchange(pool)) for pool in pools for _ in range(16)]
        await asyncio.sleep(0)
        began = time.monotonic()
        assert (await exchange(connections.pool_for(destination(port)))).status == 200
        assert time.monotonic() - began < 3  # 0.5 on an idle machine
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)


async def test_request_that_ends_early_leaves_its_connection_to_the_next() -> None:
    server = Server()
    server.may_respond.clear()
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        first = [asyncio.create_task(exchange(pool)) for _ in range(16)]
        await asyncio.sleep(0)
        late = [asyncio.create_task(exchange(pool)) for _ in range(4)]
        await asyncio.sleep(0)
        late[0].cancel()
        server.may_respond.set()
        await asyncio.gather(*first, *late[1:])
        assert late[0].cancelled()
        assert (pool.opening, connections.openings.running) == (0, 0)


async def test_request_that_waits_in_vain_is_late() -> None:
    async with HangingPools() as connections:
        pool = connections.pool_for(destination(1, subscription="hanging"))
        for late in await asyncio.gather(*(exchange(pool, total=0.1) for _ in range(40)), return_exceptions=True):
            assert isinstance(late, DeadlineExceeded)
        assert (pool.opening, connections.openings.running) == (0, 0)


async def test_requests_that_wait_when_the_relay_stops_are_not_sent() -> None:
    async with HangingPools() as connections:
        pool = connections.pool_for(destination(1, subscription="hanging"))
        hanging = [asyncio.create_task(exchange(pool)) for _ in range(16)]
        await asyncio.sleep(0)
        waiting = asyncio.create_task(exchange(pool))
        await asyncio.sleep(0)
        assert not waiting.done()
    with pytest.raises(OurShortage):
        await waiting
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)
