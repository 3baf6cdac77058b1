from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import linq
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from relay.core.config.endpoint import Endpoint
from relay.core.config.relay_toml import Subscription
from relay.core.delivery.outcome import Attempt, Outcome, Shortage
from relay.core.secret import SigningSecret
from relay.net.dns import Dns
from relay.net.resolver import Resolver
from relay.store.lanes.delivery import Delivery, Ref
from tests.building import LINE, SECRET, body_of
from tests.dns_server import dns_server
from tests.schemas.samples import samples
from tests.support import raw_server
from tests.workers.transport.exchanging import OK, read_request
from workers.transport.pool import ConnectionPools
from workers.transport.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.workers.conftest import Received, Sink

NEW_SECRET = SigningSecret("whsec_" + "YWJj" * 11)
ENDPOINT = Endpoint((NEW_SECRET,))


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with ConnectionPools() as connections:
        yield Sender(connections, time.time)


def subscription(url: str, **more: Any) -> Subscription:
    return Subscription.model_validate({"name": "bot", "topic": "support", "url": url, "secret": "env:X", **more})


def delivery(body: bytes, event_id: str = "e1", **fields: str) -> Delivery:
    known = {"id": event_id, "type": "message.received", "line": LINE, "at": "5", "version": "2026-02-03", **fields}
    entry = {name.encode(): value.encode() for name, value in known.items()}
    return Delivery(Ref("relay:topic:support", "5-0"), {**entry, b"body": body})


def attempted(result: Attempt | Shortage) -> Attempt:
    assert isinstance(result, Attempt)
    return result


async def attempt(sender: Sender, url: str, body: bytes = b'{"a": 1}') -> Attempt:
    return attempted(await sender.sender_for(subscription(url), ENDPOINT).attempt(delivery(body), 1))


async def test_body_arrives_byte_for_byte_under_the_same_id(sender: Sender, sink: Sink) -> None:
    body = '{ "z": 1,\n "a" : "h\\u00e9 é 😀", "n": 0.10 }\r\n'.encode()
    sent = delivery(body, webhook_id="msg_linqs_own")
    outcome = attempted(await sender.sender_for(subscription(sink.url + "/x"), ENDPOINT).attempt(sent, 3))
    assert (outcome.outcome, outcome.status) == (Outcome.DELIVERED, 204)
    [received] = sink.received
    assert received.body == body
    assert (
        received.headers.items()
        >= {
            "content-type": "application/json",
            "webhook-id": "msg_linqs_own",
            "x-webhook-event": "message.received",
            "x-webhook-subscription-id": "bot",
            "relay-topic": "support",
            "relay-line": LINE,
            "relay-attempt": "3",
            "relay-event-id": "e1",
        }.items()
    )


async def test_late_and_replayed_events_are_marked(sender: Sender, sink: Sink) -> None:
    replayed = Delivery(Ref("relay:lane:bot:replay", "5-0"), delivery(b"{}").fields)
    for sent in (delivery(b"{}"), delivery(b"{}", freshness="history"), replayed):
        await sender.sender_for(subscription(sink.url), ENDPOINT).attempt(sent, 1)
    marks = [(post.headers.get("relay-freshness"), post.headers.get("relay-replay")) for post in sink.received]
    assert marks == [(None, None), ("history", None), (None, "true")]


async def test_handlers_written_for_linq_verify_the_new_signature(sender: Sender, sink: Sink) -> None:
    body = body_of("message.received", "5f607182-93a4-4b5c-86e7-f8091a2b3c45")
    await sender.sender_for(subscription(sink.url), ENDPOINT).attempt(
        delivery(body, "5f607182-93a4-4b5c-86e7-f8091a2b3c45"), 1
    )
    [received] = sink.received
    Webhook(NEW_SECRET.text).verify(received.body, received.headers)
    client = linq.LinqAPIV3(api_key="x")
    event = client.webhooks.unwrap(received.body.decode(), headers=received.headers, key=NEW_SECRET.text)
    assert event.event_id == "5f607182-93a4-4b5c-86e7-f8091a2b3c45"
    signed = received.headers["x-webhook-timestamp"].encode() + b"." + received.body
    legacy = hmac.new(NEW_SECRET.text.encode(), signed, hashlib.sha256).hexdigest()
    assert received.headers["x-webhook-signature"] == legacy


async def test_v2_event_has_v2_and_standard_signatures(sender: Sender, sink: Sink) -> None:
    body = json.dumps({"api_version": "v2", "event_id": "e1", "event_type": "message.read", "data": {}}).encode()
    await sender.sender_for(subscription(sink.url), ENDPOINT).attempt(delivery(body, version="v2", line=""), 1)
    [received] = sink.received
    v2 = "sha256=" + hmac.new(NEW_SECRET.text.encode(), body, hashlib.sha256).hexdigest()
    assert received.headers["x-webhook-signature"] == v2
    assert "x-webhook-timestamp" not in received.headers
    assert "relay-line" not in received.headers
    Webhook(NEW_SECRET.text).verify(received.body, received.headers)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (202, Outcome.DELIVERED),
        (301, Outcome.REDIRECTED),
        (400, Outcome.REJECTED),
        (401, Outcome.REJECTED),
        (408, Outcome.FAILED),
        (410, Outcome.GONE),
        (429, Outcome.THROTTLED),
        (500, Outcome.FAILED),
        (503, Outcome.THROTTLED),
    ],
)
async def test_status_determines_the_outcome(sender: Sender, sink: Sink, status: int, outcome: Outcome) -> None:
    async def answer(_: Received) -> web.Response:
        return web.Response(
            status=status, text="because", headers={"Location": sink.url + "/elsewhere", "Retry-After": "7"}
        )

    sink.answer = answer
    made = await attempt(sender, sink.url)
    assert (made.outcome, made.status, made.retry_after) == (outcome, status, 7.0)
    assert made.detail == ("" if outcome is Outcome.DELIVERED else "because")
    assert len(sink.received) == 1


async def test_closed_port_is_unreachable(sender: Sender) -> None:
    made = await attempt(sender, "http://127.0.0.1:1/")
    assert (made.outcome, made.status) == (Outcome.UNREACHABLE, None)
    assert made.detail


async def test_name_that_does_not_resolve_is_unreachable() -> None:
    async with dns_server() as server:
        dns = Dns(["127.0.0.1"], udp_port=server.port, tcp_port=server.port)
        async with ConnectionPools(resolver=Resolver(dns)) as connections:
            made = await attempt(Sender(connections, time.time), "http://none.test/")
    assert made.outcome is Outcome.UNREACHABLE


async def test_connection_that_breaks_off_is_unreachable(sender: Sender) -> None:
    async def slam(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        return

    async with raw_server(slam) as port:
        assert (await attempt(sender, f"http://127.0.0.1:{port}/")).outcome is Outcome.UNREACHABLE


async def test_kept_connection_that_is_lost_costs_no_attempt(sender: Sender) -> None:
    async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK[0])
        await read_request(reader)

    async with raw_server(answer_one) as port:
        lane = sender.sender_for(subscription(f"http://127.0.0.1:{port}/", retry=[]), ENDPOINT)
        made = [attempted(await lane.attempt(delivery(b"{}"), 1)) for _ in range(2)]
    assert [(attempt.outcome, attempt.is_resent) for attempt in made] == [
        (Outcome.DELIVERED, False),
        (Outcome.DELIVERED, True),
    ]


async def attempt_with_short_timeout(sender: Sender, url: str) -> Attempt:
    """Make an attempt that times out after a fifth of a second."""
    return attempted(await sender.sender_for(subscription(url, timeout="200ms"), ENDPOINT).attempt(delivery(b"{}"), 1))


async def test_hanging_endpoint_times_out(sender: Sender, sink: Sink) -> None:
    released = asyncio.Event()

    async def answer(_: Received) -> web.Response:
        await released.wait()
        return web.Response()

    sink.answer = answer
    made = await attempt_with_short_timeout(sender, sink.url)
    assert made.took_ms >= 200
    assert (made.outcome, made.status) == (Outcome.TIMED_OUT, None)
    released.set()


async def test_response_whose_body_never_ends_counts_by_its_status(sender: Sender) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        await writer.drain()
        await reader.read()

    async with raw_server(drip) as port:
        made = await attempt_with_short_timeout(sender, f"http://127.0.0.1:{port}/")
    assert (made.outcome, made.status) == (Outcome.DELIVERED, 200)


async def test_long_response_is_kept_in_part(sender: Sender, sink: Sink) -> None:
    async def answer(_: Received) -> web.Response:
        return web.Response(status=500, text="x" * 200_000)

    sink.answer = answer
    made = await attempt(sender, sink.url)
    assert (made.outcome, len(made.detail)) == (Outcome.FAILED, 4096)


async def test_header_that_cannot_be_sent_is_a_failed_attempt(sender: Sender, sink: Sink) -> None:
    made = attempted(await sender.sender_for(subscription(sink.url), ENDPOINT).attempt(delivery(b"{}", type="a\nb"), 1))
    assert made.outcome is Outcome.FAILED
    assert sink.received == []


def test_repr_hides_the_secret() -> None:
    assert SECRET.text not in repr(SECRET)


async def test_translated_body_is_signed_and_marked_as_such(sender: Sender, sink: Sink) -> None:
    sample = next(each for each in samples() if each[:2] == ("2026-02-03", "message.received"))
    body = json.dumps(sample.body).encode()
    lane = sender.sender_for(subscription(sink.url, shape="2025-01-01"), ENDPOINT)
    outcome = attempted(await lane.attempt(delivery(body), 1))
    assert (outcome.outcome, outcome.shape) == (Outcome.DELIVERED, "2025-01-01")
    [received] = sink.received
    assert received.headers["relay-shape"] == json.loads(received.body)["webhook_version"] == "2025-01-01"
    assert json.loads(received.body)["data"]["message"]["parts"] == sample.body["data"]["parts"]
    Webhook(NEW_SECRET.text).verify(received.body, received.headers)
    signed = received.headers["x-webhook-timestamp"].encode() + b"." + received.body
    secret = NEW_SECRET.text.encode()
    assert received.headers["x-webhook-signature"] == hmac.new(secret, signed, hashlib.sha256).hexdigest()


async def test_linqs_sdk_takes_a_body_translated_to_its_version(sender: Sender, sink: Sink) -> None:
    sample = next(each for each in samples() if each[:2] == ("2025-01-01", "message.received"))
    lane = sender.sender_for(subscription(sink.url, shape="2026-02-03"), ENDPOINT)
    await lane.attempt(delivery(json.dumps(sample.body).encode(), sample.body["event_id"], version="2025-01-01"), 1)
    [received] = sink.received
    client = linq.LinqAPIV3(api_key="x")
    event = client.webhooks.unwrap(received.body.decode(), headers=received.headers, key=NEW_SECRET.text)
    assert event.event_type == "message.received"
    data = event.model_dump()["data"]
    assert (data["chat"]["id"], data["direction"]) == (sample.body["data"]["chat_id"], "inbound")


async def test_body_in_the_wanted_shape_has_no_mark(sender: Sender, sink: Sink) -> None:
    lane = sender.sender_for(subscription(sink.url, shape="2026-02-03"), ENDPOINT)
    assert attempted(await lane.attempt(delivery(b'{ "a": 1 }'), 1)).shape is None
    assert attempted(await lane.attempt(delivery(b'{ "b": 1 }', version="v2"), 1)).shape == "untranslated"
    same, left = sink.received
    assert (same.body, same.headers.get("relay-shape")) == (b'{ "a": 1 }', None)
    assert (left.body, left.headers.get("relay-shape")) == (b'{ "b": 1 }', "untranslated")
