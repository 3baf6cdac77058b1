"""The ways of a connection: what is taken the short way, what is left to aiohttp, and that nobody can tell which."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

import relay.web.fast_path
from relay.net.http_listener import Requests
from relay.net.listen_address import Listen
from relay.process.event_loop import run
from relay.store import keys
from relay.web.fast_path import FastPath
from relay.web.ingress import Ingress
from relay.web.responses import ACCEPTED
from relay.web.server import listening_for_webhooks
from tests.building import SECRET, body_of, signed
from tests.chaos.wire import read_message
from tests.conftest import NOW
from tests.support import TIMEOUT, eventually, hang_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from relay.web.ingress import Webhook
    from relay.web.responses import Response
    from tests.web.conftest import Running

HERE = Listen(host="127.0.0.1", port=0)
PATH = "/webhooks/linq?version=2026-02-03&line=16465550123&gen=1"


def request_of(event_id: str = "e1", path: str = PATH, size: int = 0, **more: str) -> bytes:
    """A signed POST as it goes over the wire, with further headers."""
    body = body_of(event_id=event_id, text="x" * size)
    headers = signed(body, NOW, SECRET) | {name.replace("_", "-"): value for name, value in more.items()}
    if "Transfer-Encoding" not in headers:
        headers.setdefault("Content-Length", str(len(body)))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + b"\r\n" + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """The next answer: status, headers by their names in lower case, body."""
    message = await read_message(reader)
    return message.status, message.headers, message.body


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        await hang_up(writer)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one for each connection that is left to aiohttp."""
    found: list[str] = []
    hand_over = relay.web.fast_path._Connection._hand_over

    def note(self: relay.web.fast_path._Connection) -> None:
        found.append("handed over")
        hand_over(self)

    monkeypatch.setattr(relay.web.fast_path._Connection, "_hand_over", note)
    return found


async def stored(redis: Redis) -> list[str]:
    """The ids in the inbox."""
    return [fields[b"id"].decode() for _, fields in await redis.xrange(keys.INBOX)]


async def test_one_webhook_after_the_other_takes_the_short_way(
    ingress: Running, redis: Redis, handed_over: list[str]
) -> None:
    async with connection(ingress.port) as (reader, writer):
        for event_id in ("e1", "e2", "e3"):
            writer.write(request_of(event_id))
            status, headers, body = await answer_of(reader)
            assert (status, headers["content-length"], body) == (200, "0", b"")
            assert headers["date"].endswith(" GMT")
            assert "connection" not in headers
    assert await stored(redis) == ["e1", "e2", "e3"]
    assert handed_over == []


@pytest.mark.parametrize("size", [1, 7, 400, 1000])
async def test_a_body_that_comes_in_pieces_is_waited_for(
    ingress: Running, redis: Redis, handed_over: list[str], size: int
) -> None:
    request = request_of(size=5000)
    head = request.index(b"\r\n\r\n") + 4
    async with connection(ingress.port) as (reader, writer):
        for piece in (request[:head], *(request[at : at + size] for at in range(head, len(request), size))):
            writer.write(piece)
            await asyncio.sleep(0)
        assert (await answer_of(reader))[0] == 200
    assert await stored(redis) == ["e1"]
    assert handed_over == []


@pytest.mark.parametrize("cut", [1, 10, 30, 200])
async def test_a_head_that_comes_in_pieces_is_as_good(ingress: Running, redis: Redis, cut: int) -> None:
    request = request_of()
    async with connection(ingress.port) as (reader, writer):
        for piece in (request[:cut], request[cut:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        assert (await answer_of(reader))[0] == 200
    assert await stored(redis) == ["e1"]


async def test_webhooks_sent_without_waiting_are_answered_in_their_order(ingress: Running, redis: Redis) -> None:
    ids = [f"e{number}" for number in range(20)]
    async with connection(ingress.port) as (reader, writer):
        writer.write(b"".join(request_of(event_id) for event_id in ids[:10]) + request_of("forged")[:-1] + b"!")
        for event_id in ids[10:]:
            writer.write(request_of(event_id))
        statuses = [(await answer_of(reader))[0] for _ in range(21)]
    assert statuses == [200] * 10 + [401] + [200] * 10
    assert await stored(redis) == ids


@pytest.mark.parametrize("cut", [1, 9, 30, 100, -1])
async def test_the_beginning_of_a_next_webhook_is_kept_until_the_rest_of_it_comes(
    ingress: Running, redis: Redis, cut: int
) -> None:
    following = request_of("e2")
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of("e1") + following[:cut])
        assert (await answer_of(reader))[0] == 200
        writer.write(following[cut:])
        assert (await answer_of(reader))[0] == 200
    assert await stored(redis) == ["e1", "e2"]


def chunked() -> bytes:
    """A request without a length."""
    head, _, body = request_of(Transfer_Encoding="chunked").partition(b"\r\n\r\n")
    return head + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


LEFT_TO_AIOHTTP = {
    "a long body": request_of(size=70_000),
    "chunks": chunked(),
    "expects to be told to go on": request_of(Expect="100-continue"),
    "another spelling of the path": request_of(path=PATH.replace("linq", "%6Cinq")),
}


@pytest.mark.parametrize("what", LEFT_TO_AIOHTTP)
async def test_what_is_unusual_is_left_to_aiohttp_and_accepted(
    ingress: Running, redis: Redis, handed_over: list[str], what: str
) -> None:
    head, end, body = LEFT_TO_AIOHTTP[what].partition(b"\r\n\r\n")
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of("e0"))
        assert (await answer_of(reader))[0] == 200
        writer.write(head + end)
        await eventually(lambda: handed_over)
        writer.write(body)
        status = 100
        while status == 100:
            status, *_ = await answer_of(reader)
        assert status == 200
        writer.write(request_of("e2"))
        assert (await answer_of(reader))[0] == 200
    assert await stored(redis) == ["e0", "e1", "e2"]
    assert len(handed_over) == 1


async def test_chunks_that_are_all_there_are_left_to_aiohttp_as_well(
    ingress: Running, redis: Redis, handed_over: list[str]
) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(chunked())
        assert (await answer_of(reader))[0] == 200
    assert (await stored(redis), len(handed_over)) == (["e1"], 1)


async def test_who_expects_to_be_told_to_go_on_is_told(ingress: Running) -> None:
    head, _, body = request_of(Expect="100-continue").partition(b"\r\n\r\n")
    async with connection(ingress.port) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert (await answer_of(reader))[0] == 100
        writer.write(body)
        assert (await answer_of(reader))[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /webhooks/linq HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /webhooks/linq/v3 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /webhooks/linqs HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nno header\r\n\r\n", 400),
        (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"nonsense\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_what_is_no_webhook_is_answered_by_aiohttp(
    ingress: Running, redis: Redis, handed_over: list[str], request_: bytes, status: int
) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_)
        assert (await answer_of(reader))[0] == status
    assert handed_over == ["handed over"]
    assert await stored(redis) == []


async def test_a_connection_ends_with_the_answer_where_the_sender_says_so(ingress: Running) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of(Connection="close"))
        status, headers, _ = await answer_of(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""


async def test_a_refusal_leaves_the_connection_open(ingress: Running) -> None:
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of(path="/webhooks/linq?line=19995550000"))
        status, headers, body = await answer_of(reader)
        assert (status, headers["content-type"], headers["retry-after"]) == (503, "application/json", "5")
        assert b"relay bootstrap apply" in body
        writer.write(request_of())
        assert (await answer_of(reader))[0] == 200


# --- who keeps us waiting ---------------------------------------------------------------------------


async def test_a_body_that_does_not_come_ends_its_connection(ingress: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay.web.fast_path, "_TIMEOUT", 0.02)
    with capture_logs() as logs:
        async with connection(ingress.port) as (reader, writer):
            writer.write(request_of()[:-1])
            assert await reader.read() == b""
        await eventually(lambda: logs)
    assert [(line["event"], line["line"]) for line in logs] == [("event.cut_off", "+16465550123")]


async def test_an_idle_connection_is_kept_for_longer_than_a_body_is_waited_for(
    ingress: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay.web.fast_path, "_TIMEOUT", 0.01)
    monkeypatch.setattr(relay.web.fast_path, "_KEEP_ALIVE", 0.1)
    loop = asyncio.get_running_loop()
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of())
        assert (await answer_of(reader))[0] == 200
        since = loop.time()
        assert await reader.read() == b""
        assert loop.time() - since > 0.09


async def test_who_never_reads_the_answers_is_cut_off() -> None:
    class Transport(asyncio.Transport):
        is_aborted = False

        def abort(self) -> None:
            self.is_aborted = True

    requests = Requests()
    protocol = FastPath(None, lambda: NOW, asyncio.Protocol, requests)()  # type: ignore[arg-type]  # not asked
    transport = Transport()
    protocol.connection_made(transport)
    protocol.pause_writing()
    assert transport.is_aborted
    protocol.connection_lost(None)


def test_who_goes_away_before_the_answer_costs_nothing() -> None:
    """On uvloop, as it runs: there a connection that is closed cannot be written to."""

    class Slow(Ingress):
        def __init__(self) -> None:
            self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

        async def receive(self, webhook: Webhook) -> Response:
            assert webhook.body
            self.asked.set()
            await self.may_answer.wait()
            return ACCEPTED

    async def go_away() -> None:
        slow, requests = Slow(), Requests()
        express = FastPath(slow, lambda: NOW, asyncio.Protocol, requests)
        async with await asyncio.get_running_loop().create_server(express, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(request_of())
            await slow.asked.wait()
            await hang_up(writer)
            await eventually(lambda: not express.open)
            slow.may_answer.set()
            async with asyncio.timeout(TIMEOUT / 3):  # it is under way no longer
                await requests.finish()

    run(go_away())


async def test_a_bug_ends_the_connection_and_is_told_and_nothing_stays_under_way() -> None:
    class Broken(Ingress):
        def __init__(self) -> None:
            """Needs nothing."""

        async def receive(self, webhook: Webhook) -> Response:
            raise RuntimeError(f"no room for the log of {webhook.target}")

    loop, told, requests = asyncio.get_running_loop(), asyncio.Event(), Requests()
    loop.set_exception_handler(lambda _, context: told.set() if "no room" in repr(context) else None)
    express = FastPath(Broken(), lambda: NOW, asyncio.Protocol, requests)
    async with (
        await loop.create_server(express, "127.0.0.1", 0) as server,
        connection(server.sockets[0].getsockname()[1]) as (reader, writer),
    ):
        writer.write(request_of())
        async with asyncio.timeout(TIMEOUT / 3):
            assert await reader.read() == b""
            await requests.finish()
    gc.collect()
    async with asyncio.timeout(TIMEOUT / 3):
        await told.wait()


# --- the end ----------------------------------------------------------------------------------------


async def test_at_the_end_bodies_are_read_and_answered_and_idle_connections_closed(ingress: Running) -> None:
    request = request_of()
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with listening_for_webhooks(ingress.parts, ingress.readiness, HERE) as listens_on:
            port.set_result(listens_on)
            await stop.wait()

    server = asyncio.create_task(serve())
    async with connection(await port) as (idle, _), connection(await port) as (reader, writer):
        writer.write(request_of("e0") + request[:-5])
        assert (await answer_of(reader))[0] == 200
        stop.set()
        await asyncio.sleep(0)
        writer.write(request[-5:])
        status, headers, _ = await answer_of(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""
        assert await idle.read() == b""
        await server


def test_the_usual_answer_is_written_out_once_a_second() -> None:
    now = NOW
    express = FastPath(None, lambda: now, asyncio.Protocol, Requests())  # type: ignore[arg-type]  # not asked
    first = express.encode(ACCEPTED, closing=False)
    assert express.encode(ACCEPTED, closing=False) is first
    assert b"Connection: close" in express.encode(ACCEPTED, closing=True)
    now += 1
    assert express.encode(ACCEPTED, closing=False) != first
