"""How the sandbox delivers to v2 subscriptions: their own event, their own signature, one attempt."""

from __future__ import annotations

import pytest

from relay.sandbox.events.event import v2_twin
from tests.sandbox.running import LINE, OTHER_LINE, Endpoint, RunningSandbox


async def test_one_happening_goes_to_both_apis_each_in_its_own_dialect(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    await sandbox.subscribe(f"{endpoint.url}/v3")
    older = sandbox.subscribe_v2(f"{endpoint.url}/v2")
    emitted = await sandbox.emit(line=OTHER_LINE)
    assert emitted["subscriptions"] == 2
    log = await sandbox.settled()
    bodies = {one.path: one.json for one in endpoint.received}
    assert {path: body["api_version"] for path, body in bodies.items()} == {"/v3": "v3", "/v2": "v2"}
    assert bodies["/v3"]["event_id"] == emitted["event_id"]
    assert bodies["/v2"]["event_id"] == v2_twin(emitted["event_id"])
    assert bodies["/v2"]["event_type"] == "message.received"
    assert [(one.api, one.subscription_id) for one in log if one.api == "v2"] == [("v2", str(older.id))]


async def test_the_signature_is_over_the_body_alone(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox.subscribe_v2(endpoint.url, secret="chosen by us")
    await sandbox.emit()
    await sandbox.settled()
    (received,) = endpoint.received
    assert received.is_signed_by_v2("chosen by us")
    assert received.headers["content-type"] == "application/json"
    assert not {"webhook-id", "webhook-signature", "x-webhook-timestamp"} & received.headers.keys()


async def test_without_a_secret_there_is_no_signature(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox.subscribe_v2(endpoint.url, secret=None)
    await sandbox.emit()
    await sandbox.settled()
    assert "x-webhook-signature" not in endpoint.received[0].headers


@pytest.mark.parametrize("status", [500, 503, 429, 404])
async def test_nothing_is_tried_again(sandbox: RunningSandbox, endpoint: Endpoint, status: int) -> None:
    older = sandbox.subscribe_v2(endpoint.url)
    endpoint.answers.append(status)
    await sandbox.emit()
    (delivery,) = await sandbox.settled()
    assert (delivery.state, [attempt.status for attempt in delivery.attempts]) == ("failed", [status])
    assert (older.delivery_attempts, older.last_delivered_at) == (1, None)


async def test_attempts_are_counted_and_the_last_delivery_remembered(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    older = sandbox.subscribe_v2(endpoint.url)
    for _ in range(3):
        await sandbox.emit()
    log = await sandbox.settled()
    assert older.delivery_attempts == 3
    assert older.last_delivered_at is not None
    assert older.last_delivered_at >= min(one.attempts[0].at for one in log)


async def test_every_line_comes_and_duplicate_subscriptions_get_duplicates(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    for _ in range(2):
        sandbox.subscribe_v2(endpoint.url)
    for line in (LINE, OTHER_LINE):
        assert (await sandbox.emit(line=line))["subscriptions"] == 2
    await sandbox.settled()
    assert len(endpoint.received) == 4


async def test_an_inactive_or_deleted_one_gets_nothing(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
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


async def test_an_event_that_v2_does_not_have_goes_to_v3_alone(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox.subscribe_v2(endpoint.url, "message.received", "message.edited")
    assert (await sandbox.emit("message.edited"))["subscriptions"] == 0
