"""Limits of connections, over both ways: deadlines, caps, half-closed senders, shutdown."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.net.failure_limit import FailureLimit
from relay.process.timings import DEFAULTS
from relay.web import connections, handed_over
from relay.web.connections import Limits
from relay.web.handed_over import HandedOver
from tests.chaos.wire import read_message
from tests.support import TIMEOUT
from tests.web.wire import chunked_request, connection, request_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.process.timings import Timings
    from tests.web.conftest import Running

SLOW = replace(DEFAULTS, request_head=30, request_body=30)
QUICK = replace(DEFAULTS, request_head=0.04, request_body=0.04, linger=0.04)
PLAIN = request_of()
HEAD = PLAIN[: PLAIN.index(b"\r\n\r\n") + 4]
CHUNKED = chunked_request()
OTHER = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"

# --- deadlines --------------------------------------------------------------------------------------

UNFINISHED = {
    "silence": b"",
    "half a method": b"PO",
    "half a head": HEAD[:60],
    "half a head of another kind": OTHER[:30],
    "head without a body": HEAD,
    "half a body": PLAIN[:-1],
    "half a chunk": CHUNKED[:-20],
    "chunks without an end": CHUNKED[:-5],
    "half a head behind a request": PLAIN + HEAD[:60],
    "half a body behind a request": PLAIN + PLAIN[:-1],
    "half a chunk behind a request": CHUNKED + CHUNKED[:-20],
    "half a body behind another kind": OTHER + PLAIN[:-1],
}


@pytest.mark.parametrize("what", UNFINISHED)
async def test_unfinished_request_is_closed(ingress: Running, way: str, what: str) -> None:
    async with (
        ingress.listening(way, Limits(idle=0.04), QUICK) as port,
        connection(port, UNFINISHED[what]) as (reader, _),
        asyncio.timeout(TIMEOUT),
    ):
        if b"behind" in what.encode():
            assert (await read_message(reader)).status == 200
        assert await reader.read() == b""


@pytest.mark.parametrize("request_", [PLAIN, CHUNKED, OTHER])
async def test_idle_connection_outlives_the_other_deadlines(ingress: Running, way: str, request_: bytes) -> None:
    loop = asyncio.get_running_loop()
    async with ingress.listening(way, Limits(idle=0.2), QUICK) as port, connection(port, request_) as (reader, _):
        since = loop.time()
        assert (await read_message(reader)).status == 200
        assert await reader.read() == b""
        assert loop.time() - since > 0.19


async def test_slow_bodies_are_logged_together(ingress: Running, way: str) -> None:
    with capture_logs() as logs:
        async with ingress.listening(way, timings=QUICK) as port, AsyncExitStack() as stack:
            for _ in range(5):
                reader, _ = await stack.enter_async_context(connection(port, PLAIN[:-1]))
            assert await reader.read() == b""
    late = [line for line in logs if line["event"] == "connections.closed"]
    assert len(late) <= 2
    assert (sum(line["count"] for line in late), late[0]["reason"]) == (5, "its body came too slowly")


# --- limits -----------------------------------------------------------------------------------------


async def test_connection_that_waited_longest_makes_room(ingress: Running, way: str) -> None:
    async with ingress.listening(way, Limits(connections=3), SLOW) as port, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(connection(port)) for _ in range(3)]
        for reader, writer in others[:2]:
            writer.write(PLAIN)
            assert (await read_message(reader)).status == 200
        for reader in (others[2][0], others[0][0]):
            newcomer, writer = await stack.enter_async_context(connection(port))
            writer.write(PLAIN)
            assert (await read_message(newcomer)).status == 200
            assert await reader.read() == b""
        others[1][1].write(PLAIN)
        assert (await read_message(others[1][0])).status == 200


async def test_delayed_refusal_is_the_first_to_make_room(
    ingress: Running, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailureLimit, "take", lambda *_: False)
    monkeypatch.setattr(FailureLimit, "delay", lambda _: 30.0)
    async with (
        ingress.listening(way, Limits(connections=2), SLOW) as port,
        connection(port) as (waiting_longer, _),
        connection(port) as (refused, writer),
    ):
        writer.write(PLAIN[:-1] + b"!")
        reading = asyncio.create_task(refused.read())
        with capture_logs() as logs:
            while not any(line["event"] == "event.refused" for line in logs):
                await asyncio.sleep(0.01)
        async with connection(port) as (reader, other):
            other.write(request_of("e2"))
            assert (await read_message(reader)).status == 200
        assert await reading == b""
        assert not waiting_longer.at_eof()


async def test_slowest_sender_makes_room_for_bytes(ingress: Running, way: str) -> None:
    request = request_of(size=60_000)
    limits = Limits(unverified=200_000)
    async with ingress.listening(way, limits, SLOW) as port, AsyncExitStack() as stack:
        senders = [await stack.enter_async_context(connection(port)) for _ in range(4)]
        for _, writer in senders:
            writer.write(request[:-1])
            await writer.drain()
            await asyncio.sleep(0.005)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_message(senders[0][0])
        for reader, writer in senders[1:]:
            writer.write(request[-1:])
            assert (await read_message(reader)).status == 200


async def test_large_requests_share_a_rate(ingress: Running, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_RATE", 1_000_000.0)
    monkeypatch.setattr(connections, "_BURST", 100_000.0)
    async with ingress.listening(way, timings=SLOW) as port, AsyncExitStack() as stack:
        large, writer = await stack.enter_async_context(connection(port))
        small, other = await stack.enter_async_context(connection(port))
        since = asyncio.get_running_loop().time()
        writer.write(request_of("e1", size=250_000))
        await writer.drain()
        waiting = asyncio.create_task(read_message(large))
        other.write(request_of("e2"))
        assert (await read_message(small)).status == 200
        assert not waiting.done() or asyncio.get_running_loop().time() - since > 0.12  # the latter on a busy machine
        assert (await waiting).status == 200
        assert asyncio.get_running_loop().time() - since > 0.12


@pytest.mark.parametrize("kind", [PLAIN, CHUNKED])
async def test_no_bytes_are_held_after_the_end(ingress: Running, way: str, kind: bytes) -> None:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(ingress.listening(way, Limits(unverified=3 * len(kind)), SLOW))
        reader, writer = await stack.enter_async_context(connection(port))
        for _ in range(20):
            for cut in (kind[:50], kind[50:]):
                writer.write(cut)
                await asyncio.sleep(0)
            assert (await read_message(reader)).status == 200


UNSIGNED = {
    "no signature": request_of().replace(b"webhook-", b"x-").replace(b"X-Webhook-", b"x-"),
    "no signature, chunks": CHUNKED.replace(b"webhook-", b"x-").replace(b"X-Webhook-", b"x-"),
    "too old": request_of().replace(b"webhook-timestamp: 1", b"webhook-timestamp: "),
    "wrong form": request_of().replace(b"v1,", b"v1,xx"),
    "wrong form, v2": request_of(target="/webhooks/linq/v2"),
}


@pytest.mark.parametrize("what", UNSIGNED)
async def test_invalid_headers_get_401_before_the_body(ingress: Running, way: str, what: str) -> None:
    request = UNSIGNED[what]
    begun = request[: request.index(b"\r\n\r\n") + 6]
    async with ingress.listening(way, timings=QUICK) as port, connection(port, begun) as (reader, _):
        response = await read_message(reader)
        assert (response.status, response.headers["connection"]) == (401, "close")


# --- half-closed connections ------------------------------------------------------------------------


@pytest.mark.parametrize("requests", [[PLAIN], [CHUNKED], [OTHER], [PLAIN] * 3, [CHUNKED] * 3, [PLAIN, CHUNKED, OTHER]])
async def test_half_closed_sender_gets_its_responses(ingress: Running, way: str, requests: list[bytes]) -> None:
    async with ingress.listening(way) as port, connection(port) as (reader, writer), asyncio.timeout(TIMEOUT):
        writer.write(b"".join(requests))
        writer.write_eof()
        assert [(await read_message(reader)).status for _ in requests] == [200] * len(requests)
        assert await reader.read() == b""


@pytest.mark.parametrize("request_", [b"", HEAD[:60], PLAIN[:-1], CHUNKED[:-5], OTHER[:-1]])
async def test_half_closed_sender_of_a_part_is_closed(ingress: Running, way: str, request_: bytes) -> None:
    async with ingress.listening(way) as port, connection(port) as (reader, writer), asyncio.timeout(TIMEOUT):
        writer.write(request_)
        await asyncio.sleep(0.002)
        writer.write_eof()
        assert await reader.read() == b""


@pytest.mark.parametrize("moment", ["eof_received", "begin", "end"])
@pytest.mark.parametrize("requests", [[CHUNKED], [OTHER], [CHUNKED] * 3])
async def test_pause_of_the_process_costs_a_half_closed_sender_no_response(
    ingress: Running, way: str, monkeypatch: pytest.MonkeyPatch, requests: list[bytes], moment: str
) -> None:
    original = getattr(HandedOver, moment)

    def stalls(self: HandedOver, *arguments: object) -> object:
        result = original(self, *arguments)
        time.sleep(0.03)
        return result

    monkeypatch.setattr(handed_over, "_SETTLE", 0.01)
    monkeypatch.setattr(HandedOver, moment, stalls)
    async with ingress.listening(way) as port, connection(port, b"".join(requests)) as (reader, writer):
        writer.write_eof()
        assert [(await read_message(reader)).status for _ in requests] == [200] * len(requests)
        assert await reader.read() == b""


# --- shutdown ---------------------------------------------------------------------------------------


@asynccontextmanager
async def stoppable(
    ingress: Running, way: str, timings: Timings = DEFAULTS
) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Listen until the event is set; yield the port and the event."""
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with ingress.listening(way, timings=timings) as number:
            port.set_result(number)
            await stop.wait()

    async with asyncio.TaskGroup() as server:
        server.create_task(serve())
        yield await port, stop


@pytest.mark.parametrize("request_", [PLAIN, CHUNKED])
async def test_no_request_on_a_kept_connection_is_lost(ingress: Running, way: str, request_: bytes) -> None:
    answered: list[int] = []

    async def send(port: int, stop: asyncio.Event) -> None:
        async with connection(port) as (reader, writer):
            while True:
                writer.write(request_)
                response = await read_message(reader)
                answered.append(response.status)
                if len(answered) == 50:
                    stop.set()
                if response.headers.get("connection") == "close":
                    assert await reader.read() == b""
                    return

    async with stoppable(ingress, way) as (port, stop), asyncio.TaskGroup() as senders:
        for _ in range(10):
            senders.create_task(send(port, stop))
    assert set(answered) == {200}


async def test_idle_connection_is_kept_for_a_moment(ingress: Running, way: str) -> None:
    timings = replace(DEFAULTS, drain_idle=0.5)
    async with stoppable(ingress, way, timings) as (port, stop), AsyncExitStack() as stack:
        sends, silent, begins = [await stack.enter_async_context(connection(port)) for _ in range(3)]
        for reader, writer in (sends, silent, begins):
            writer.write(PLAIN)
            assert (await read_message(reader)).status == 200
        stop.set()
        await asyncio.sleep(0.02)
        sends[1].write(PLAIN)
        begins[1].write(PLAIN[:100])
        response = await read_message(sends[0])
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await silent[0].read() == b""
        begins[1].write(PLAIN[100:])
        response = await read_message(begins[0])
        assert (response.status, response.headers["connection"]) == (200, "close")
