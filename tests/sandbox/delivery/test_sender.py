"""Delivery to v3 subscriptions: matching and signatures."""

from __future__ import annotations

import asyncio
import time

import pytest
from standardwebhooks import WebhookVerificationError

from relay.sandbox.payloads import NEW, OLD
from tests.sandbox.running import LINE, LINES, OTHER_LINE, Endpoint, Received, RunningSandbox
from tests.support import eventually

# --- Signatures and headers ---------------------------------------------------------------------------


async def test_standard_signature_is_valid(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    emitted = await sandbox.emit(line=LINE)
    await sandbox.settled()
    (received,) = endpoint.received
    received.verify_standard(made.signing_secret)
    assert received.headers["webhook-id"] == emitted["event_id"] == received.json["event_id"]
    assert received.headers["webhook-signature"].startswith("v1,")
    assert abs(time.time() - int(received.headers["webhook-timestamp"])) < 5


@pytest.mark.parametrize("changed", ["body", "id", "timestamp", "secret"])
async def test_standard_signature_covers_id_timestamp_and_body(
    sandbox: RunningSandbox, endpoint: Endpoint, changed: str
) -> None:
    secret = (await sandbox.subscribe(endpoint.url)).signing_secret
    await sandbox.emit(line=LINE)
    await sandbox.settled()
    (real,) = endpoint.received
    headers = dict(real.headers)
    if changed == "id":
        headers["webhook-id"] += "x"
    elif changed == "timestamp":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    elif changed == "secret":
        secret = "whsec_" + "A" * 43 + "="
    body = real.body + b" " if changed == "body" else real.body
    with pytest.raises(WebhookVerificationError):
        Received(real.path, headers, body).verify_standard(secret)


async def test_legacy_signature_is_bare_hex_keyed_with_whole_secret(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=LINE)
    await sandbox.settled()
    (received,) = endpoint.received
    assert received.headers["x-webhook-signature"] == received.legacy_signature(made.signing_secret)
    assert received.headers["x-webhook-timestamp"] == received.headers["webhook-timestamp"]
    assert received.headers["x-webhook-event"] == "message.received"
    assert received.headers["x-webhook-subscription-id"] == made.id
    assert received.headers["content-type"] == "application/json"


async def test_official_sdk_unwraps_a_delivery(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=LINE)
    await sandbox.settled()
    (received,) = endpoint.received
    event = sandbox.client.webhooks.unwrap(received.body.decode(), headers=received.headers, key=made.signing_secret)
    assert (event.event_type, event.event_id) == ("message.received", received.headers["webhook-id"])


async def test_target_url_keeps_its_query(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(f"{endpoint.url}/webhooks/linq?version={NEW}&line=16465550123&gen=1")
    await sandbox.emit(line=LINE)
    await sandbox.settled()
    assert [request.path for request in endpoint.received] == [f"/webhooks/linq?version={NEW}&line=16465550123&gen=1"]


@pytest.mark.parametrize(("query", "version"), [(f"?version={OLD}", OLD), (f"?version={NEW}", NEW), ("", NEW)])
async def test_target_query_selects_payload_version(
    sandbox: RunningSandbox, endpoint: Endpoint, query: str, version: str
) -> None:
    await sandbox.subscribe(endpoint.url + "/" + query)
    await sandbox.emit(line=LINE)
    await sandbox.settled()
    (received,) = endpoint.received
    assert received.json["webhook_version"] == version
    assert ("recipient_phone" in received.json["data"]) == (version == OLD)


# --- Matching -----------------------------------------------------------------------------------------


async def test_only_subscribed_types_are_delivered(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url, "message.sent", "reaction.added")
    matches = [
        (await sandbox.emit(event_type, line=LINE))["subscriptions"]
        for event_type in ("message.sent", "message.read", "reaction.added", "reaction.removed")
    ]
    await sandbox.settled()
    assert matches == [1, 0, 1, 0]
    assert {request.json["event_type"] for request in endpoint.received} == {"message.sent", "reaction.added"}


async def test_line_filter_selects_events(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url, "message.failed", lines=[LINE, OTHER_LINE])
    for line in LINES:  # the data of message.failed has no line
        await sandbox.emit("message.failed", line=line, event_id=f"about {line}")
    await sandbox.settled()
    assert {request.headers["webhook-id"] for request in endpoint.received} == {f"about {LINE}", f"about {OTHER_LINE}"}


async def test_no_line_filter_matches_every_line_and_none(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    filtered = await sandbox.subscribe(f"{endpoint.url}/filtered", lines=[LINE])
    for line in LINES:
        await sandbox.emit(line=line)
    await sandbox.emit(data={"id": "of no line"})
    log = await sandbox.settled()
    assert [delivery.line for delivery in log if delivery.subscription_id != filtered.id] == [*LINES, None]
    assert [delivery.line for delivery in log if delivery.subscription_id == filtered.id] == [LINE]


async def test_each_subscription_gets_a_copy_signed_with_its_secret(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    secrets = {}
    for name in ("one", "two", "three"):
        made = await sandbox.subscribe(f"{endpoint.url}/{name}")
        secrets[f"/{name}"] = (made.id, made.signing_secret)
    assert (await sandbox.emit(line=LINE))["subscriptions"] == 3
    await sandbox.settled()
    assert {request.path for request in endpoint.received} == set(secrets)
    assert len({request.headers["webhook-id"] for request in endpoint.received}) == 1
    for received in endpoint.received:
        subscription_id, secret = secrets[received.path]
        received.verify_standard(secret)
        assert received.headers["x-webhook-subscription-id"] == subscription_id


async def test_inactive_subscription_gets_nothing(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.client.webhook_subscriptions.update(made.id, is_active=False)
    assert (await sandbox.emit(line=LINE, event_id="missed"))["subscriptions"] == 0
    await sandbox.client.webhook_subscriptions.update(made.id, is_active=True)
    assert (await sandbox.emit(line=LINE, event_id="delivered"))["subscriptions"] == 1
    await sandbox.settled()
    assert [request.headers["webhook-id"] for request in endpoint.received] == ["delivered"]


async def test_deleted_subscription_gets_nothing(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.client.webhook_subscriptions.delete(made.id)
    assert (await sandbox.emit(line=LINE))["subscriptions"] == 0
    assert await sandbox.settled() == []


async def test_events_are_delivered_in_parallel(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    both_received = asyncio.Event()
    endpoint.before_response = both_received.wait
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=LINE)
    await sandbox.emit(line=LINE)
    await eventually(lambda: len(endpoint.received) == 2)
    both_received.set()
    assert [delivery.state for delivery in await sandbox.settled()] == ["delivered", "delivered"]
