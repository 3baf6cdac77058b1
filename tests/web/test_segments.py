"""Webhooks in several segments, and several in one: each byte is parsed once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import relay.web.fast.connection
from relay.web.fast.request_head import parse_head
from tests.chaos.wire import read_message
from tests.web.conftest import stored
from tests.web.wire import connection, request_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.web.fast.request_head import RequestHead
    from tests.web.conftest import Running


@pytest.mark.parametrize("cut", [1, 10, 30, 200])
async def test_head_in_segments_is_accepted(ingress: Running, redis: Redis, cut: int) -> None:
    request = request_of()
    async with connection(ingress.port) as (reader, writer):
        for segment in (request[:cut], request[cut:]):
            writer.write(segment)
            await writer.drain()
            await asyncio.sleep(0.001)
        assert (await read_message(reader)).status == 200
    assert await stored(redis) == ["e1"]


async def test_pipelined_webhooks_are_answered_in_order(ingress: Running, redis: Redis) -> None:
    ids = [f"e{number}" for number in range(20)]
    async with connection(ingress.port) as (reader, writer):
        writer.write(b"".join(request_of(event_id) for event_id in ids[:10]) + request_of("forged")[:-1] + b"!")
        for event_id in ids[10:]:
            writer.write(request_of(event_id))
        statuses = [(await read_message(reader)).status for _ in range(21)]
    assert statuses == [200] * 10 + [401] + [200] * 10
    assert await stored(redis) == ids


@pytest.mark.parametrize("cut", [1, 9, 30, 100, -1])
async def test_beginning_of_the_next_webhook_is_kept(ingress: Running, redis: Redis, cut: int) -> None:
    following = request_of("e2")
    async with connection(ingress.port) as (reader, writer):
        writer.write(request_of("e1") + following[:cut])
        assert (await read_message(reader)).status == 200
        writer.write(following[cut:])
        assert (await read_message(reader)).status == 200
    assert await stored(redis) == ["e1", "e2"]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list of the heads that the fast path parses."""
    found: list[bytes] = []

    def parse(raw: bytes) -> RequestHead | None:
        found.append(raw)
        return parse_head(raw)

    monkeypatch.setattr(relay.web.fast.connection, "parse_head", parse)
    return found


async def test_each_byte_of_pipelined_webhooks_is_parsed_once(ingress: Running, parsed: list[bytes]) -> None:
    requests = [request_of(f"e{number}") for number in range(80)]
    async with connection(ingress.port) as (reader, writer):
        writer.write(b"".join(requests))
        for _ in requests:
            assert (await read_message(reader)).status == 200
    assert parsed == [request[: request.index(b"\r\n\r\n") + 4] for request in requests]


async def test_head_is_parsed_once_while_its_body_arrives(ingress: Running, parsed: list[bytes]) -> None:
    request = request_of(size=2000)
    async with connection(ingress.port) as (reader, writer):
        for at in (0, *range(1000, len(request), 10)):
            writer.write(request[at : 1000 if at == 0 else at + 10])
            await asyncio.sleep(0)
        assert (await read_message(reader)).status == 200
    assert len(parsed) == 1
