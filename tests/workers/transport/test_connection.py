"""Exchanges with correct and with faulty servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import raw_server
from tests.workers.transport.exchanging import REQUEST, destination, exchange, read_request, scripted
from workers.transport.connection import MAX_READ, DeadlineExceeded, NoResponse
from workers.transport.pool import ConnectionPools

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from workers.transport.connection import Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def response_to(*pieces: bytes, stays: bool = False, total: float = 10.0) -> Response:
    async with scripted(pieces, stays=stays) as (_, pool):
        return await exchange(pool, total=total)


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ([OK], 200, b"ok"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"], 200, b"ok"),
        ([OK[:1], OK[1:20], OK[20:39], OK[39:]], 200, b"ok"),
        ([bytes([byte]) for byte in OK], 200, b"ok"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"], 304, b""),
        ([b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"], 200, b"ok"),
        ([b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n"], 799, b""),
        ([b"HTTP/1.0 200 OK\r\n\r\nuntil ", b"the end"], 200, b"until the end"),
        ([b"HTTP/1.1 500 Oh\r\nX-Odd: \xff\x01\r\n\r\n", b"dear"], 500, b"dear"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", OK], 200, b"ok"),
        ([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK], 200, b"ok"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\x00\x01"], 101, b""),
        ([b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x00\x01"], 101, b""),
        (
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r",
                b"\n3;x=y\r\ncde\r\n0\r\nX-Sum: 5\r\n",
                b"\r\n",
            ],
            200,
            b"abcde",
        ),
    ],
)
async def test_response_is_read_completely(pieces: Sequence[bytes], status: int, body: bytes) -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    response = await response_to(*pieces)
    assert (response.status, bytes(response.body), response.flaw, errors) == (status, body, None, [])


@given(cuts=st.lists(st.integers(0, 90), max_size=6).map(sorted))
@settings(max_examples=40, deadline=None)
def test_response_may_arrive_in_any_parts(cuts: list[int]) -> None:
    whole = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwait\r\n0\r\nX: y\r\n\r\n"
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    response = asyncio.run(response_to(*pieces))
    assert (response.status, bytes(response.body), response.header(b"retry-after")) == (503, b"wait", "7")


async def test_first_of_two_headers_counts_and_trailers_do_not() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = await response_to(head + b"0\r\nX-B: 3\r\n\r\n")
    assert (response.header(b"x-a"), response.header(b"x-b")) == ("1", None)


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], "the response is not HTTP: "),
        ([b"<html>Sorry</html>"], "the response is not HTTP: "),
        ([b"HTTP/2 200 OK\r\n\r\n"], "the response is not HTTP: "),
        ([b"HTTP/1.1 99 Few\r\n\r\n"], "the response is not HTTP: "),
        ([b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"], "the response is not HTTP: "),
        ([b"HTTP/1.1 100 Continue\r\n\r\n<html>"], "the response is not HTTP: "),
        ([b"<html>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"], "the response is not HTTP: "),
        ([b"HTTP/1.1 200 OK" + b"y" * 3 * MAX_READ], "the response is not HTTP: its head does not end"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000], "the response is not HTTP: its head does not end"),
        ([], "the subscriber closed the connection"),
        ([b"HTTP/1.1 200 O"], "the subscriber closed the connection"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "the subscriber closed the connection"),
    ],
)
async def test_invalid_response_is_an_error_with_a_reason(pieces: Sequence[bytes], reason: str) -> None:
    with pytest.raises(NoResponse, match=reason):
        await response_to(*pieces)


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"Content-Length: 9\r\n\r\nok", "the subscriber closed the connection"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nok", "the subscriber closed the connection"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nrubbish\r\n", "the response is not HTTP: "),
    ],
)
async def test_response_that_breaks_off_counts_with_a_flaw(rest: bytes, reason: str) -> None:
    response = await response_to(b"HTTP/1.1 200 OK\r\n" + rest)
    assert (response.status, bytes(response.body)) == (200, b"ok")
    assert str(response.flaw).startswith(reason)


_CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"], ids=["alone", "after a 1xx"])
@pytest.mark.parametrize("status_line", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200\r\n", b"HTTP/1.0 200 OK\n"])
@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (b"Content-Length: 2\r\n" + _CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n", "the response is not HTTP: "),
        (_CHUNKED + b"Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", "the response is not HTTP: "),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "the response is not HTTP: "),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nok", "the response is not HTTP: "),
        (b"Content-Length: 2, 2\r\n\r\nok", "the response is not HTTP: "),
        (b"X : y\r\nContent-Length: 2\r\n\r\nok", "the response is not HTTP: "),
        (b"rubbish\r\n\r\n", "the response is not HTTP: "),
        (b"X: " + b"y" * 3 * MAX_READ, "the response is not HTTP: its head does not end"),
        (b"X: y\r\n", "the subscriber closed the connection"),
        (b"", "the subscriber closed the connection"),
    ],
    ids=[
        *("length and chunked", "chunked and length", "length twice", "two lengths", "list of lengths"),
        *("blank before colon", "rubbish", "endless", "closed in the head", "closed after the status line"),
    ],
)
async def test_known_status_line_counts(interim: bytes, status_line: bytes, rest: bytes, reason: str) -> None:
    whole = interim + status_line + rest
    async with scripted((whole[:9], whole[9:30], whole[30:]), stays=not reason.startswith("the subscriber")) as (
        _,
        pool,
    ):
        response = await exchange(pool)
        assert response.status == 200
        assert str(response.flaw).startswith(reason)
        assert not pool.idle


async def test_broken_head_on_a_kept_connection_has_no_older_status() -> None:
    async with scripted((OK,), (b"<html>Sorry</html>",)) as (_, pool):
        assert (await exchange(pool)).status == 200
        with pytest.raises(NoResponse, match="the response is not HTTP: "):
            await exchange(pool)


async def test_missing_response_times_out() -> None:
    with pytest.raises(DeadlineExceeded, match=r"^no response within 50ms$"):
        await response_to(b"HTTP/1.1 200 OK", stays=True, total=0.05)


async def test_head_that_does_not_end_times_out_and_its_status_counts() -> None:
    response = await response_to(b"HTTP/1.1 200 OK\r\nX: y", stays=True, total=0.05)
    assert (response.status, str(response.flaw)) == (200, "no response within 50ms")


async def test_body_that_does_not_end_times_out_and_its_head_counts() -> None:
    response = await response_to(OK[:-1], stays=True, total=0.05)
    assert (response.status, bytes(response.body), str(response.flaw)) == (200, b"o", "no response within 50ms")


@pytest.mark.parametrize("head", [b"Content-Length: 300000\r\n", b""], ids=["of known length", "of unknown length"])
async def test_long_body_is_read_in_part_and_costs_the_connection(head: bytes) -> None:
    async with scripted([b"HTTP/1.1 500 Oh\r\n" + head + b"\r\n" + b"x" * 300_000], stays=True) as (server, pool):
        response = await exchange(pool)
        assert (response.status, len(response.body), response.flaw) == (500, MAX_READ, None)
        await server.hung_up.wait()


async def test_endless_trailers_are_not_read_to_their_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    response = await response_to(head, b"X: yyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 10_000, stays=True)
    assert (response.status, response.flaw) == (200, None)


async def test_response_before_the_request_is_read_costs_the_connection() -> None:
    released = asyncio.Event()

    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await released.wait()

    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 30_000_000
    async with raw_server(answer_early) as port, ConnectionPools() as connections:
        response = await exchange(connections.pool_for(destination(port)), request)
        assert response.status == 413
        assert not connections.pool_for(destination(port)).idle
        released.set()


async def test_reset_connection_is_reported() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # what is left unread makes the kernel reset the connection
        writer.transport.abort()

    async with raw_server(reset) as port, ConnectionPools() as connections:
        with pytest.raises(NoResponse, match=r"Connection reset|closed the connection"):
            await exchange(connections.pool_for(destination(port)), REQUEST + b"x" * 100_000)


async def test_cancelled_exchange_costs_the_connection() -> None:
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        await reader.read()
        gone.set()

    async with raw_server(listen) as port, ConnectionPools() as connections:
        task = asyncio.create_task(exchange(connections.pool_for(destination(port))))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


@pytest.mark.parametrize(
    "test",
    [
        test_first_of_two_headers_counts_and_trailers_do_not,
        test_missing_response_times_out,
        test_body_that_does_not_end_times_out_and_its_head_counts,
        test_endless_trailers_are_not_read_to_their_end,
        test_response_before_the_request_is_read_costs_the_connection,
        test_reset_connection_is_reported,
        test_cancelled_exchange_costs_the_connection,
    ],
)
def test_behaviour_is_the_same_on_uvloop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
