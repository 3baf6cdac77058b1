"""Costs of a sender: bytes are looked at a bounded number of times, and responses that are not read do not pile up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import relay.web.fast.connection
from relay.net.front import Requests
from relay.web.fast.path import FastPath
from relay.web.fast.request_head import parse_head
from relay.web.ingress import Ingress
from relay.web.responses import ACCEPTED
from tests.chaos.wire import read_message
from tests.conftest import NOW
from tests.web.handing_over import handover_to
from tests.web.wire import connection, request_of

if TYPE_CHECKING:
    from relay.web.fast.request_head import RequestHead
    from relay.web.ingress import Webhook
    from relay.web.responses import Response


class Transport(asyncio.Transport):
    """A transport to nobody."""

    is_aborted = False

    def get_extra_info(self, _: str, default: object = None) -> object:
        return default

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


class Accepting(Ingress):
    """An ingress that accepts everything."""

    def __init__(self) -> None:
        """Create without dependencies."""

    def refuse_early(self, _: Webhook) -> None:
        return None

    async def receive(self, webhook: Webhook) -> Response:
        assert webhook.body
        return ACCEPTED


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list of the heads that the fast path parses."""
    found: list[bytes] = []

    def parse(raw: bytes) -> RequestHead | None:
        found.append(raw)
        return parse_head(raw)

    monkeypatch.setattr(relay.web.fast.connection, "parse_head", parse)
    return found


async def test_burst_of_short_requests_is_parsed_once(parsed: list[bytes]) -> None:
    request = b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world"
    count = 64 * 1024 // len(request)
    fast_path = FastPath(Accepting(), lambda: NOW, handover_to(asyncio.Protocol), Requests())
    async with (
        await asyncio.get_running_loop().create_server(fast_path, "127.0.0.1", 0) as server,
        connection(server.sockets[0].getsockname()[1]) as (reader, writer),
    ):
        writer.write(request * count)
        for _ in range(count):
            assert (await read_message(reader)).status == 200
    assert sum(map(len, parsed)) == count * (len(request) - 11)


class CountingBuffer(bytearray):
    """A buffer that counts the bytes in which something was searched."""

    searched = 0

    def find(self, part: bytes, start: int = 0, end: int = 0) -> int:  # type: ignore[override]  # as it is called
        self.searched += min(end, len(self)) - start
        return super().find(part, start, end)

    def count(self, part: bytes, start: int = 0) -> int:  # type: ignore[override]  # as it is called
        self.searched += len(self) - start
        return super().count(part, start)


async def test_request_byte_by_byte_costs_no_more_per_byte(parsed: list[bytes]) -> None:
    fast_path = FastPath(Accepting(), lambda: NOW, handover_to(asyncio.Protocol), Requests())
    protocol = fast_path()
    protocol._buffer = buffer = CountingBuffer()  # type: ignore[attr-defined]
    protocol.connection_made(Transport())
    request = request_of(size=2000)
    head = request.index(b"\r\n\r\n") + 4
    for at in range(len(request)):
        protocol.data_received(request[at : at + 1])
    assert parsed == [request[:head]]
    assert buffer.searched < 20 * head
    protocol.connection_lost(None)


async def test_sender_that_never_reads_responses_is_disconnected() -> None:
    protocol = FastPath(None, lambda: NOW, handover_to(asyncio.Protocol), Requests())()
    transport = Transport()
    protocol.connection_made(transport)
    protocol.pause_writing()
    assert transport.is_aborted
    protocol.connection_lost(None)
