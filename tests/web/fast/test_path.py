"""Connections of the ingress: what the fast path takes, what it leaves to aiohttp, timeouts and shutdown."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from typing import TYPE_CHECKING

import pytest

import relay.web.fast.connection
from relay.net.front import Requests
from relay.net.listen_address import Listen
from relay.process.event_loop import run
from relay.process.timings import Timings
from relay.web.fast.path import FastPath
from relay.web.ingress import Ingress
from relay.web.responses import ACCEPTED
from relay.web.server import listening_for_webhooks
from tests.chaos.wire import read_message
from tests.conftest import NOW
from tests.garbage import ignore_former_objects
from tests.support import TIMEOUT, eventually, hang_up
from tests.web.conftest import stored
from tests.web.handing_over import handover_to
from tests.web.wire import TARGET, chunked_request, connection, request_of, response_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.web.ingress import Webhook
    from relay.web.responses import Response
    from tests.web.conftest import Running

HERE = Listen(host="127.0.0.1", port=0)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list with an item for each connection that is handed over to aiohttp."""
    found: list[str] = []
    hand_over = relay.web.fast.connection.FastConnection._hand_over

    def record(self: relay.web.fast.connection.FastConnection) -> None:
        found.append("handed over")
        hand_over(self)

    monkeypatch.setattr(relay.web.fast.connection.FastConnection, "_hand_over", record)
    return found


async def test_webhooks_in_sequence_take_the_fast_path(ingress: Running, redis: Redis, handed_over: list[str]) -> None:
    async with connection(ingress.port) as (reader, writer):
        for event_id in ("e1", "e2", "e3"):
            writer.write(request_of(event_id))
            response = await read_message(reader)
            assert (response.status, response.headers["content-length"], response.body) == (200, "0", b"")
            assert response.headers["date"].endswith(" GMT")
            assert "connection" not in response.headers
    assert await stored(redis) == ["e1", "e2", "e3"]
    assert handed_over == []


@pytest.mark.parametrize("size", [1, 7, 400, 1000])
async def test_body_in_segments_is_awaited(ingress: Running, redis: Redis, handed_over: list[str], size: int) -> None:
    request = request_of(size=5000)
    head = request.index(b"\r\n\r\n") + 4
    async with connection(ingress.port) as (reader, writer):
        for segment in (request[:head], *(request[at : at + size] for at in range(head, len(request), size))):
            writer.write(segment)
            await asyncio.sleep(0)
        assert (await read_message(reader)).status == 200
    assert await stored(redis) == ["e1"]
    assert handed_over == []


LEFT_TO_AIOHTTP = {
    "chunks": chunked_request(),
    "Expect": request_of(Expect="100-continue"),
    "encoded path": request_of(target=TARGET.replace("linq", "%6Cinq")),
}


@pytest.mark.parametrize("what", LEFT_TO_AIOHTTP)
async def test_unusual_webhook_is_handed_over_and_accepted(
    ingress: Running, redis: Redis, handed_over: list[str], what: str
) -> None:
    head, end, body = LEFT_TO_AIOHTTP[what].partition(b"\r\n\r\n")
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of("e0"))
        assert (await read_message(reader)).status == 200
        writer.write(head + end)
        await eventually(lambda: handed_over)
        writer.write(body)
        assert (await response_of(reader)).status == 200
        writer.write(request_of("e2"))
        assert (await read_message(reader)).status == 200
    assert await stored(redis) == ["e0", "e1", "e2"]
    assert len(handed_over) == 1


async def test_whole_chunked_webhook_is_handed_over(ingress: Running, redis: Redis, handed_over: list[str]) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(chunked_request())
        assert (await read_message(reader)).status == 200
    assert (await stored(redis), len(handed_over)) == (["e1"], 1)


async def test_expect_is_answered_100_continue(ingress: Running) -> None:
    head, _, body = request_of(Expect="100-continue").partition(b"\r\n\r\n")
    async with connection(ingress.port) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert (await read_message(reader)).status == 100
        writer.write(body)
        assert (await read_message(reader)).status == 200


async def test_probes_take_the_fast_path(ingress: Running, redis: Redis, handed_over: list[str]) -> None:
    async with connection(ingress.port) as (reader, writer):
        for path in (b"/live", b"/ready?verbose"):
            writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            probed = await read_message(reader)
            assert (probed.status, probed.headers["content-type"]) == (200, "application/json")
        writer.write(request_of("e1") + b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await read_message(reader)).status == 200
        last = await read_message(reader)
        assert (last.body, last.headers["connection"], await reader.read()) == (b'{"live":true}', "close", b"")
    assert await stored(redis) == ["e1"]
    assert handed_over == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200),
        (b"GET /webhooks/linq HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /webhooks/linq/v3 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /webhooks/linqs HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nno header\r\n\r\n", 400),
        (request_of(Content_Length="9999999"), 413),
        (b"nonsense\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_other_requests_are_answered_by_aiohttp(
    ingress: Running, redis: Redis, handed_over: list[str], request_: bytes, status: int
) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_)
        assert (await read_message(reader)).status == status
    assert handed_over == ["handed over"]
    assert await stored(redis) == []


async def test_connection_close_is_honoured(ingress: Running) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of(Connection="close"))
        response = await read_message(reader)
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await reader.read() == b""


async def test_rejection_keeps_the_connection_open(ingress: Running) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of(target="/webhooks/linq?line=19995550000"))
        response = await read_message(reader)
        assert (response.status, response.headers["retry-after"]) == (503, "5")
        assert response.headers["content-type"] == "application/json"
        assert b"relay bootstrap apply" in response.body
        writer.write(request_of())
        assert (await read_message(reader)).status == 200


# --- slow and lost senders --------------------------------------------------------------------------


@pytest.mark.parametrize("resets", [True, False])
def test_sender_that_leaves_before_the_response_leaves_no_trace(*, resets: bool) -> None:
    """Run on uvloop, as in production: there, writing to a closed connection fails."""

    class Slow(Ingress):
        def __init__(self) -> None:
            self.called, self.may_respond = asyncio.Event(), asyncio.Event()

        async def receive(self, webhook: Webhook) -> Response:
            assert webhook.body
            self.called.set()
            await self.may_respond.wait()
            return ACCEPTED

    async def leave() -> None:
        slow = Slow()
        fast_path = FastPath(slow, lambda: NOW, handover_to(asyncio.Protocol), Requests())
        async with await asyncio.get_running_loop().create_server(fast_path, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(request_of())
            await slow.called.wait()
            if resets:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await hang_up(writer)
            if resets:
                await eventually(lambda: not fast_path.connections.open)
            slow.may_respond.set()
            async with asyncio.timeout(TIMEOUT / 3):
                await fast_path.connections.drained(TIMEOUT)

    run(leave())


async def test_bug_closes_the_connection_and_is_reported() -> None:
    class Broken(Ingress):
        def __init__(self) -> None:
            """Create without dependencies."""

        async def receive(self, webhook: Webhook) -> Response:
            raise RuntimeError(f"no room for the log of {webhook.target}")

    ignore_former_objects()
    loop, reported = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(lambda _, context: reported.set() if "no room" in repr(context) else None)
    fast_path = FastPath(Broken(), lambda: NOW, handover_to(asyncio.Protocol), Requests())
    async with (
        await loop.create_server(fast_path, "127.0.0.1", 0) as server,
        connection(server.sockets[0].getsockname()[1]) as (reader, writer),
    ):
        writer.write(request_of())
        async with asyncio.timeout(TIMEOUT / 3):
            assert await reader.read() == b""
            await fast_path.connections.drained(TIMEOUT)
    gc.collect()
    async with asyncio.timeout(TIMEOUT / 3):
        await reported.wait()


# --- shutdown ---------------------------------------------------------------------------------------


async def test_shutdown_answers_bodies_and_closes_idle_connections(ingress: Running) -> None:
    request, timings = request_of(), Timings(drain_idle=0.02)
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with listening_for_webhooks(ingress.parts, ingress.readiness, HERE, timings=timings) as number:
            port.set_result(number)
            await stop.wait()

    server = asyncio.create_task(serve())
    async with connection(await port) as (idle, _), connection(await port) as (reader, writer):
        writer.write(request_of("e0") + request[:-5])
        assert (await read_message(reader)).status == 200
        stop.set()
        await asyncio.sleep(0)
        writer.write(request[-5:])
        response = await read_message(reader)
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await reader.read() == b""
        assert await idle.read() == b""
        await server


async def test_usual_response_is_encoded_once_a_second() -> None:
    now = NOW
    fast_path = FastPath(None, lambda: now, handover_to(asyncio.Protocol), Requests())
    first = fast_path.encode(ACCEPTED, closing=False)
    assert fast_path.encode(ACCEPTED, closing=False) is first
    assert b"Connection: close" in fast_path.encode(ACCEPTED, closing=True)
    now += 1
    assert fast_path.encode(ACCEPTED, closing=False) != first
