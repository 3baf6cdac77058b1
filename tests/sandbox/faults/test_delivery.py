"""Faults in deliveries, as seen by a subscriber."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import WebhookVerificationError

from relay.sandbox.state import rfc3339
from tests.sandbox.running import LINE, OTHER_LINE, Endpoint, RunningSandbox, running_sandbox
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def slow_sandbox() -> AsyncIterator[RunningSandbox]:
    """A sandbox in real time, so that delayed events stay delayed during a test."""
    async with running_sandbox(speed=1) as running:
        yield running


async def test_duplicates_are_identical_deliveries(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.fault("duplicate", times=3, count=1)
    first = await sandbox.emit()
    second = await sandbox.emit()
    assert first["subscriptions"] == 1
    log = await sandbox.settled()
    ids = [request.headers["webhook-id"] for request in endpoint.received]
    assert (ids.count(first["event_id"]), ids.count(second["event_id"])) == (3, 1)
    assert [delivery.faults for delivery in log] == [("duplicate",)] * 3 + [()]
    assert len({request.body for request in endpoint.received}) == 2
    for received in endpoint.received:
        received.verify_standard(made.signing_secret)


async def test_duplicates_are_sent_in_parallel(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("duplicate", times=5)

    async def wait_for_all() -> None:
        await eventually(lambda: len(endpoint.received) == 5)

    endpoint.before_response = wait_for_all
    await sandbox.emit()
    assert [delivery.state for delivery in await sandbox.settled()] == ["delivered"] * 5


@pytest.mark.parametrize("offset", [-3600, 3600])
async def test_timestamps_can_be_stale_or_in_the_future(
    sandbox: RunningSandbox, endpoint: Endpoint, offset: int
) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.fault("timestamp", offset=offset)
    await sandbox.emit()
    await sandbox.settled()
    (received,) = endpoint.received
    for name in ("webhook-timestamp", "x-webhook-timestamp"):
        assert int(received.headers[name]) == pytest.approx(time.time() + offset, abs=5)
    assert received.headers["x-webhook-signature"] == received.legacy_signature(made.signing_secret)
    with pytest.raises(WebhookVerificationError, match="timestamp"):
        received.verify_standard(made.signing_secret)


async def test_forged_signatures_have_valid_form_only(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(f"{endpoint.url}/v3")
    sandbox.subscribe_v2(f"{endpoint.url}/v2", secret="v2-secret")
    await sandbox.fault("forge", count=1)
    for _ in range(2):
        await sandbox.emit()
        await sandbox.settled()
    (forged, real) = (request for request in endpoint.received if request.path == "/v3")
    (forged_v2, real_v2) = (request for request in endpoint.received if request.path == "/v2")
    real.verify_standard(made.signing_secret)
    assert forged.headers.keys() == real.headers.keys()
    assert forged.headers["x-webhook-signature"] != forged.legacy_signature(made.signing_secret)
    with pytest.raises(WebhookVerificationError, match="signature"):
        forged.verify_standard(made.signing_secret)
    assert forged_v2.headers["x-webhook-signature"].startswith("sha256=")
    assert not forged_v2.is_signed_by_v2("v2-secret")
    assert real_v2.is_signed_by_v2("v2-secret")


@pytest.mark.parametrize("only", ["standard", "legacy"])
async def test_one_header_family_can_be_left_out(sandbox: RunningSandbox, endpoint: Endpoint, only: str) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.fault("headers", only=only)
    await sandbox.emit()
    await sandbox.settled()
    (received,) = endpoint.received
    families = {name.split("-")[0] for name in received.headers if "webhook" in name}
    assert families == ({"webhook"} if only == "standard" else {"x"})
    if only == "standard":
        received.verify_standard(made.signing_secret)
    else:
        assert received.headers["x-webhook-signature"] == received.legacy_signature(made.signing_secret)


async def test_fault_applies_to_retries_of_an_event(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("headers", only="legacy", count=1)
    endpoint.statuses.extend([500, 500])
    await sandbox.emit()
    await sandbox.settled()
    assert [("webhook-id" in request.headers) for request in endpoint.received] == [False] * 3


async def test_unsubscribed_events_consume_no_hits(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("forge", count=1)
    await sandbox.emit("reaction.added")
    assert len((await sandbox.get("/sandbox/faults"))["faults"]) == 1
    await sandbox.emit()
    assert (await sandbox.get("/sandbox/faults"))["faults"] == []


# --- Delays -------------------------------------------------------------------------------------------


async def test_reorder_delays_events_until_window_is_full(slow_sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox = slow_sandbox
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("reorder", window=4, seconds=600)
    sent = (await sandbox.emit(count=3))["event_ids"]
    assert [delivery.state for delivery in sandbox.log] == ["held"] * 3
    assert (await sandbox.get("/sandbox/faults"))["faults"][0]["held"] == 3
    sent += (await sandbox.emit(count=2))["event_ids"]
    await eventually(lambda: len(endpoint.received) == 4)
    assert {request.headers["webhook-id"] for request in endpoint.received} == set(sent[:4])
    assert sandbox.log[-1].state == "held"


async def test_reorder_changes_the_order(slow_sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox = slow_sandbox
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("reorder", window=30, count=30, seconds=600)
    sent = (await sandbox.emit(count=30))["event_ids"]
    await sandbox.settled()
    received_ids = [request.headers["webhook-id"] for request in endpoint.received]
    assert sorted(received_ids) == sorted(sent)
    assert received_ids != sent


@pytest.mark.parametrize("end", ["cleared", "count", "time"])
async def test_delayed_events_are_always_sent(slow_sandbox: RunningSandbox, endpoint: Endpoint, end: str) -> None:
    sandbox = slow_sandbox
    await sandbox.subscribe(endpoint.url)
    count = 3 if end == "count" else None
    await sandbox.fault("reorder", window=100, count=count, seconds=0.05 if end == "time" else 600)
    await sandbox.emit(count=3)
    if end == "cleared":
        await sandbox.clear_faults()
    assert [delivery.state for delivery in await sandbox.settled()] == ["delivered"] * 3


async def test_late_events_are_sent_at_once_with_reconciled_at(
    slow_sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    sandbox = slow_sandbox
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("late", seconds=600, line=LINE)
    await sandbox.emit(line=LINE, count=5)
    await sandbox.emit(line=OTHER_LINE)
    await eventually(lambda: len(endpoint.received) == 1)
    released = rfc3339(datetime.now(UTC))
    await sandbox.clear_faults()
    await sandbox.settled()
    live, *late = (request.json for request in endpoint.received)
    assert "reconciled_at" not in live["data"]
    assert len(late) == 5
    for event in late:
        assert event["created_at"] <= event["data"]["reconciled_at"]
        assert event["data"]["reconciled_at"] >= released
        assert event["data"]["sent_at"] <= event["data"]["reconciled_at"]


async def test_late_events_wait_even_without_hits_left(slow_sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox = slow_sandbox
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("late", seconds=600, count=2)
    await sandbox.emit(count=3)
    await eventually(lambda: endpoint.received)
    assert [delivery.state for delivery in sandbox.log[:2]] == ["held"] * 2
    (fault,) = (await sandbox.get("/sandbox/faults"))["faults"]
    assert (fault["left"], fault["held"]) == (0, 2)
    await sandbox.clear_faults()
    assert [delivery.state for delivery in await sandbox.settled()] == ["delivered"] * 3
    assert (await sandbox.get("/sandbox/faults"))["faults"] == []


async def test_delayed_event_of_deleted_subscription_is_not_sent(
    slow_sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    sandbox = slow_sandbox
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.fault("late")
    await sandbox.emit()
    await sandbox.client.webhook_subscriptions.delete(made.id)
    await sandbox.clear_faults()
    (delivery,) = await sandbox.settled()
    assert (delivery.state, delivery.attempts) == ("failed", [])


async def test_delays_of_faults_are_divided_by_speed(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("late", seconds=600)  # 60 ms at this speed
    await sandbox.emit()
    assert [delivery.state for delivery in await sandbox.settled()] == ["delivered"]
    assert len(endpoint.received) == 1
