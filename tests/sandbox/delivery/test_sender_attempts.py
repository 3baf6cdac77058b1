"""Attempts of a delivery: retries, final results, and the list of deliveries."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from relay.sandbox.delivery import post
from relay.sandbox.delivery.v3 import RETRY_DELAYS, Backoff
from relay.sandbox.payloads import NEW, OLD
from tests.sandbox.running import LINE, Endpoint, RunningSandbox, running_sandbox
from tests.support import eventually

# --- Attempts -----------------------------------------------------------------------------------------


def test_ten_attempts_spread_over_25_minutes() -> None:
    assert len(RETRY_DELAYS) == 9
    assert sum(RETRY_DELAYS) == pytest.approx(25 * 60, rel=0.05)
    assert max(RETRY_DELAYS) <= 600
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_2xx_is_delivered(sandbox: RunningSandbox, endpoint: Endpoint, status: int) -> None:
    endpoint.statuses.append(status)
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=LINE)
    (delivery,) = await sandbox.settled()
    assert (delivery.state, [attempt.status for attempt in delivery.attempts]) == ("delivered", [status])


async def test_5xx_429_and_network_errors_are_retried(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    endpoint.statuses.extend([500, 429, 0, 503, 599])
    await sandbox.emit(line=LINE)
    (delivery,) = await sandbox.settled()
    assert delivery.state == "delivered"
    assert [attempt.status for attempt in delivery.attempts] == [500, 429, None, 503, 599, 200]
    assert [bool(attempt.error) for attempt in delivery.attempts] == [False, False, True, False, False, False]
    assert len({(request.headers["webhook-id"], request.body) for request in endpoint.received}) == 1
    for received in endpoint.received:
        received.verify_standard(made.signing_secret)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 408, 410, 413])
async def test_every_other_status_is_final(sandbox: RunningSandbox, endpoint: Endpoint, status: int) -> None:
    endpoint.statuses.append(status)
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=LINE)
    (delivery,) = await sandbox.settled()
    assert (delivery.state, [attempt.status for attempt in delivery.attempts]) == ("failed", [status])
    assert len(endpoint.received) == 1  # redirects are not followed


async def test_tenth_attempt_is_the_last(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    endpoint.statuses.extend([500] * 20)
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=LINE)
    (delivery,) = await sandbox.settled()
    assert delivery.state == "failed"
    assert [attempt.status for attempt in delivery.attempts] == [500] * 10
    assert len(endpoint.received) == 10


async def test_refused_connection_is_retried(sandbox: RunningSandbox, refusing_port: int) -> None:
    await sandbox.subscribe(f"http://127.0.0.1:{refusing_port}/x")
    await sandbox.emit(line=LINE)
    (delivery,) = await sandbox.settled()
    assert (delivery.state, len(delivery.attempts)) == ("failed", 10)
    assert all(attempt.status is None and attempt.error for attempt in delivery.attempts)


async def test_unknown_host_name_is_final(sandbox: RunningSandbox) -> None:
    await sandbox.subscribe("http://no-such-host.invalid/x")
    await sandbox.emit(line=LINE)
    (delivery,) = await sandbox.settled()
    assert (delivery.state, [attempt.status for attempt in delivery.attempts]) == ("failed", [None])
    assert "no-such-host.invalid" in delivery.attempts[0].error


async def test_response_timeout_is_retried(
    sandbox: RunningSandbox, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert post.TIMEOUT == 10.0
    monkeypatch.setattr(post, "TIMEOUT", 0.1)
    never = asyncio.Event()
    endpoint.before_response = never.wait
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=LINE)
    await eventually(lambda: len(endpoint.received) == 2)
    endpoint.before_response = None
    never.set()
    (delivery,) = await sandbox.settled()
    assert delivery.state == "delivered"
    assert delivery.attempts[0].status is None
    assert delivery.attempts[0].ms >= 90


async def test_each_attempt_is_signed_with_its_own_timestamp(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)

    async def wait_for_the_next_second() -> None:
        if len(endpoint.received) == 1:
            first_timestamp = int(endpoint.received[0].headers["webhook-timestamp"])
            await eventually(lambda: int(time.time()) > first_timestamp)

    endpoint.before_response = wait_for_the_next_second
    endpoint.statuses.extend([500, 200])
    await sandbox.emit(line=LINE)
    await sandbox.settled()
    first, second = endpoint.received
    for name in ("webhook-timestamp", "x-webhook-timestamp"):
        assert int(second.headers[name]) > int(first.headers[name])
    for received in (first, second):
        received.verify_standard(made.signing_secret)
        assert received.headers["x-webhook-signature"] == received.legacy_signature(made.signing_secret)


async def test_delays_grow_and_are_divided_by_speed(endpoint: Endpoint) -> None:
    async with running_sandbox(speed=500) as sandbox:
        times: list[float] = []

        async def record_time() -> None:
            times.append(time.monotonic())

        endpoint.before_response = record_time
        endpoint.statuses.extend([500] * 5)
        await sandbox.subscribe(endpoint.url)
        await sandbox.emit(line=LINE)
        await sandbox.settled()
    waits = [after - before for before, after in itertools.pairwise(times)]
    for wait, planned in zip(waits, RETRY_DELAYS, strict=False):
        assert wait >= planned / 500 * 0.9  # jitter is at most a tenth; a busy machine has no upper bound


async def test_closing_the_sandbox_cancels_retries(endpoint: Endpoint) -> None:
    endpoint.statuses.extend([500] * 20)
    async with running_sandbox(speed=1) as sandbox:
        await sandbox.subscribe(endpoint.url)
        await sandbox.emit(line=LINE)
        await eventually(lambda: sandbox.log[0].state == "waiting")
        began = time.monotonic()
    assert time.monotonic() - began < 20  # the first retry would come later
    assert len(endpoint.received) == 1


async def test_deleting_a_subscription_stops_its_retries(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    is_due = asyncio.Event()
    monkeypatch.setattr(Backoff, "sleep", lambda *_: is_due.wait())
    async with running_sandbox() as sandbox:
        endpoint.statuses.extend([500] * 20)
        made = await sandbox.subscribe(endpoint.url)
        await sandbox.emit(line=LINE)
        await eventually(lambda: sandbox.log[0].state == "waiting")
        await sandbox.client.webhook_subscriptions.delete(made.id)
        is_due.set()
        (delivery,) = await sandbox.settled()
    assert delivery.state == "failed"
    assert len(endpoint.received) == 1


async def test_message_edited_exists_in_newer_version_only(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(f"{endpoint.url}/old?version={OLD}", "message.edited")
    await sandbox.subscribe(f"{endpoint.url}/new?version={NEW}", "message.edited")
    await sandbox.emit("message.edited", line=LINE)
    await sandbox.settled()
    assert [request.path for request in endpoint.received] == [f"/new?version={NEW}"]


async def test_delivery_with_invalid_header_fails(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.client.webhook_subscriptions.update(made.id, routing_key_header="X-Key")
    await sandbox.emit(line=LINE, chat_id="two\nlines")  # not valid in a header
    (delivery,) = await sandbox.settled()
    assert delivery.state == "failed"


async def test_500_with_truncated_body_is_retried(sandbox: RunningSandbox) -> None:
    served = 0

    async def truncated_response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nonly a part")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(truncated_response, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await sandbox.subscribe(f"http://127.0.0.1:{port}/x")
        await sandbox.emit(line=LINE)
        (delivery,) = await sandbox.settled()
    assert (served, len(delivery.attempts)) == (10, 10)


# --- The list of deliveries ------------------------------------------------------------------------------------------


async def test_deliveries_are_listed_with_their_attempts(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    endpoint.statuses.extend([503, 200])
    emitted = await sandbox.emit(line=LINE)
    await sandbox.settled()
    async with sandbox.http.get(f"{sandbox.url}/sandbox/deliveries") as response:
        (delivery,) = (await response.json())["deliveries"]
    attempts: list[dict[str, Any]] = delivery.pop("attempts")
    assert delivery == {
        "event_id": emitted["event_id"],
        "event_type": "message.received",
        "line": LINE,
        "subscription_id": made.id,
        "api": "v3",
        "state": "delivered",
        "faults": [],
    }
    assert [(attempt["status"], attempt["error"]) for attempt in attempts] == [(503, ""), (200, "")]
    assert all(attempt["at"].endswith("Z") and attempt["ms"] >= 0 for attempt in attempts)
    assert attempts[0]["at"] <= attempts[1]["at"]
