"""One exchange, with servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

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


async def answer_to(*pieces: bytes, stays: bool = False, total: float = 10.0) -> Response:
    async with scripted(pieces, stays=stays) as (_, pool):
        return await exchange(pool, total=total)


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ([OK], 200, b"ok"),
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
async def test_an_answer_is_read_whole(pieces: Sequence[bytes], status: int, body: bytes) -> None:
    answer = await answer_to(*pieces)
    assert (answer.status, bytes(answer.body), answer.flaw) == (status, body, None)


@given(cuts=st.lists(st.integers(0, 90), max_size=6).map(sorted))
@settings(max_examples=40, deadline=None)
def test_it_does_not_matter_where_an_answer_is_cut(cuts: list[int]) -> None:
    whole = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwait\r\n0\r\nX: y\r\n\r\n"
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    answer = asyncio.run(answer_to(*pieces))
    assert (answer.status, bytes(answer.body), answer.header(b"retry-after")) == (503, b"wait", "7")


async def test_of_two_headers_the_first_counts_and_none_from_behind_the_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await answer_to(head + b"0\r\nX-B: 3\r\n\r\n")
    assert (answer.header(b"x-a"), answer.header(b"x-b")) == ("1", None)


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], "its answer is not HTTP: "),
        ([b"<html>Sorry</html>"], "its answer is not HTTP: "),
        ([b"HTTP/2 200 OK\r\n\r\n"], "its answer is not HTTP: "),
        ([b"HTTP/1.1 99 Few\r\n\r\n"], "its answer is not HTTP: "),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy"], "its answer is not HTTP: "),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 3 * MAX_READ], "its answer is not HTTP: its head does not end"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000], "its answer is not HTTP: its head does not end"),
        ([], "it closed the connection"),
        ([b"HTTP/1.1 200 O"], "it closed the connection"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "it closed the connection"),
    ],
)
async def test_what_is_no_answer_says_why(pieces: Sequence[bytes], why: str) -> None:
    with pytest.raises(NoResponse, match=why):
        await answer_to(*pieces)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (b"Content-Length: 9\r\n\r\nok", "it closed the connection"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nok", "it closed the connection"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nrubbish\r\n", "its answer is not HTTP: "),
    ],
)
async def test_an_answer_that_breaks_off_counts_with_a_flaw(rest: bytes, why: str) -> None:
    answer = await answer_to(b"HTTP/1.1 200 OK\r\n" + rest)
    assert (answer.status, bytes(answer.body)) == (200, b"ok")
    assert str(answer.flaw).startswith(why)


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    with pytest.raises(DeadlineExceeded, match=r"^no answer within 50ms$"):
        await answer_to(b"HTTP/1.1 200 OK\r\n", stays=True, total=0.05)


async def test_a_body_that_does_not_end_is_given_up_and_its_head_counts() -> None:
    answer = await answer_to(OK[:-1], stays=True, total=0.05)
    assert (answer.status, bytes(answer.body), str(answer.flaw)) == (200, b"o", "no answer within 50ms")


@pytest.mark.parametrize("head", [b"Content-Length: 300000\r\n", b""], ids=["of known length", "of unknown length"])
async def test_a_long_body_is_read_in_part_and_costs_the_connection(head: bytes) -> None:
    async with scripted([b"HTTP/1.1 500 Oh\r\n" + head + b"\r\n" + b"x" * 300_000], stays=True) as (server, pool):
        answer = await exchange(pool)
        assert (answer.status, len(answer.body), answer.flaw) == (500, MAX_READ, None)
        await server.hung_up.wait()


async def test_trailers_without_end_are_not_read_to_their_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    answer = await answer_to(head, b"X: yyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 10_000, stays=True)
    assert (answer.status, answer.flaw) == (200, None)


async def test_an_answer_may_come_before_the_request_is_read_and_costs_the_connection() -> None:
    held = asyncio.Event()

    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await held.wait()

    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 30_000_000
    async with raw_server(answer_early) as port, ConnectionPools() as connections:
        answer = await exchange(connections.pool_for(destination(port)), request)
        assert answer.status == 413
        assert not connections.pool_for(destination(port)).idle
        held.set()


async def test_a_connection_that_is_reset_says_so() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # what is left unread makes the kernel reset the connection
        writer.transport.abort()

    async with raw_server(reset) as port, ConnectionPools() as connections:
        with pytest.raises(NoResponse, match=r"Connection reset|closed the connection"):
            await exchange(connections.pool_for(destination(port)), REQUEST + b"x" * 100_000)


async def test_one_who_stops_waiting_costs_the_connection() -> None:
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
        test_of_two_headers_the_first_counts_and_none_from_behind_the_body,
        test_an_answer_that_does_not_come_is_given_up,
        test_a_body_that_does_not_end_is_given_up_and_its_head_counts,
        test_trailers_without_end_are_not_read_to_their_end,
        test_an_answer_may_come_before_the_request_is_read_and_costs_the_connection,
        test_a_connection_that_is_reset_says_so,
        test_one_who_stops_waiting_costs_the_connection,
    ],
)
def test_it_is_the_same_on_the_loop_of_a_worker(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
