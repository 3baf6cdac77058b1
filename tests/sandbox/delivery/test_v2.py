"""Delivery to v2 subscriptions: form of the event, signature, single attempt."""

from __future__ import annotations

import pytest

from relay.sandbox.events.event import v2_event_id
from tests.sandbox.running import LINE, OTHER_LINE, Endpoint, RunningSandbox


async def test_event_is_sent_in_the_form_of_each_api(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(f"{endpoint.url}/v3")
    older = sandbox.subscribe_v2(f"{endpoint.url}/v2")
    emitted = await sandbox.emit(line=OTHER_LINE)
    assert emitted["subscriptions"] == 2
    log = await sandbox.settled()
    bodies = {request.path: request.json for request in endpoint.received}
    assert {path: body["api_version"] for path, body in bodies.items()} == {"/v3": "v3", "/v2": "v2"}
    assert bodies["/v3"]["event_id"] == emitted["event_id"]
    assert bodies["/v2"]["event_id"] == v2_event_id(emitted["event_id"])
    assert bodies["/v2"]["event_type"] == "message.received"
    assert [(delivery.api, delivery.subscription_id) for delivery in log if delivery.api == "v2"] == [
        ("v2", str(older.id))
    ]


async def test_v2_signature_covers_the_body_alone(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox.subscribe_v2(endpoint.url, secret="chosen by us")
    await sandbox.emit()
    await sandbox.settled()
    (received,) = endpoint.received
    assert received.is_signed_by_v2("chosen by us")
    assert received.headers["content-type"] == "application/json"
    assert not {"webhook-id", "webhook-signature", "x-webhook-timestamp"} & received.headers.keys()


async def test_no_secret_means_no_signature(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox.subscribe_v2(endpoint.url, secret=None)
    await sandbox.emit()
    await sandbox.settled()
    assert "x-webhook-signature" not in endpoint.received[0].headers


@pytest.mark.parametrize("status", [500, 503, 429, 404])
async def test_v2_delivery_is_not_retried(sandbox: RunningSandbox, endpoint: Endpoint, status: int) -> None:
    older = sandbox.subscribe_v2(endpoint.url)
    endpoint.statuses.append(status)
    await sandbox.emit()
    (delivery,) = await sandbox.settled()
    assert (delivery.state, [attempt.status for attempt in delivery.attempts]) == ("failed", [status])
    assert (older.delivery_attempts, older.last_delivered_at) == (1, None)


async def test_attempts_and_last_delivery_are_recorded(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    older = sandbox.subscribe_v2(endpoint.url)
    for _ in range(3):
        await sandbox.emit()
    log = await sandbox.settled()
    assert older.delivery_attempts == 3
    assert older.last_delivered_at is not None
    assert older.last_delivered_at >= min(delivery.attempts[0].at for delivery in log)


async def test_v2_has_no_line_filter_and_allows_duplicates(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    for _ in range(2):
        sandbox.subscribe_v2(endpoint.url)
    for line in (LINE, OTHER_LINE):
        assert (await sandbox.emit(line=line))["subscriptions"] == 2
    await sandbox.settled()
    assert len(endpoint.received) == 4


async def test_inactive_or_deleted_v2_subscription_gets_nothing(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    older = sandbox.subscribe_v2(endpoint.url)
    older.active = False
    assert (await sandbox.emit())["subscriptions"] == 0
    older.active = True
    await sandbox.fault("late", seconds=600)
    assert (await sandbox.emit())["subscriptions"] == 1
    sandbox.sandbox.state.v2_subscriptions.clear()
    await sandbox.clear_faults()
    (delivery,) = await sandbox.settled()
    assert (delivery.state, delivery.attempts) == ("failed", [])
    assert endpoint.received == []


async def test_event_without_v2_type_is_not_sent_to_v2(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox.subscribe_v2(endpoint.url, "message.received", "message.edited")
    assert (await sandbox.emit("message.edited"))["subscriptions"] == 0
