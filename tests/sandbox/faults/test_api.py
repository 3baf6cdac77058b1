"""Faults in API calls, and subscriptions disabled by Linq."""

from __future__ import annotations

import json
import time

import linq
import pytest

from tests.sandbox.running import LINE, OTHER_LINE, Endpoint, RunningSandbox

TARGET = "https://relay.example.com/x"


@pytest.mark.parametrize("prefix", ["/api/partner", ""])
async def test_api_fault_hits_matching_calls(sandbox: RunningSandbox, prefix: str) -> None:
    await sandbox.fault("api_error", status=500, method="GET", path="/v3/webhook-subscriptions", count=2)
    statuses = []
    for path in ("phone_numbers", "webhook-subscriptions", "webhook-subscriptions", "webhook-subscriptions"):
        async with sandbox.http.get(f"{sandbox.url}{prefix}/v3/{path}") as response:
            statuses.append(response.status)
            assert response.headers["X-Trace-ID"]
    assert statuses == [200, 500, 500, 200]


async def test_429_has_retry_after_in_body_and_header(sandbox: RunningSandbox) -> None:
    await sandbox.fault("api_error", status=429, retry_after=30)
    async with sandbox.http.get(f"{sandbox.url}/v3/phone_numbers") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "30")
        body = await response.json()
    assert (body["error"]["code"], body["error"]["retry_after"]) == (1007, 30)
    assert body["trace_id"] == response.headers["X-Trace-ID"]


@pytest.mark.parametrize("after", [False, True])
async def test_failed_call_is_carried_out_with_after(sandbox: RunningSandbox, *, after: bool) -> None:
    await sandbox.fault("api_error", status=500, after=after, count=1)
    with pytest.raises(linq.InternalServerError) as failed:
        await sandbox.subscribe(TARGET)
    assert failed.value.code == 3006
    assert len(sandbox.sandbox.state.subscriptions) == int(after)


async def test_api_calls_can_be_slow(sandbox: RunningSandbox) -> None:
    await sandbox.fault("api_slow", seconds=0.1, count=1)
    began = time.monotonic()
    await sandbox.client.phone_numbers.list()
    assert time.monotonic() - began >= 0.1


async def test_disable_by_subscription_id(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    first, second = await sandbox.subscribe(f"{endpoint.url}/1"), await sandbox.subscribe(f"{endpoint.url}/2")
    assert await sandbox.fault("disable", subscription_id=first.id) == {"kind": "disable", "disabled": [first.id]}
    listed = (await sandbox.client.webhook_subscriptions.list()).subscriptions
    assert {subscription.id: subscription.is_active for subscription in listed} == {first.id: False, second.id: True}
    assert (await sandbox.emit())["subscriptions"] == 1


async def test_disable_by_line(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET, lines=[LINE])
    await sandbox.subscribe(TARGET + "?line=2", lines=[OTHER_LINE])
    await sandbox.subscribe(TARGET + "?all")
    assert (await sandbox.fault("disable", line=LINE))["disabled"] == [made.id]


async def test_disable_v2_subscription(sandbox: RunningSandbox) -> None:
    older = sandbox.subscribe_v2(TARGET)
    assert (await sandbox.fault("disable", subscription_id=str(older.id)))["disabled"] == [str(older.id)]
    assert not older.active


async def test_disable_without_match_is_400(sandbox: RunningSandbox) -> None:
    async with sandbox.http.post(f"{sandbox.url}/sandbox/faults", json={"kind": "disable", "line": LINE}) as response:
        assert response.status == 400
        assert LINE in (await response.json())["error"]["message"]


async def test_retries_of_a_disabled_subscription_stop(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)

    async def disable() -> None:
        await sandbox.fault("disable", subscription_id=made.id)

    endpoint.before_response = disable
    endpoint.statuses.append(500)
    await sandbox.emit()
    (delivery,) = await sandbox.settled()
    assert (delivery.state, len(delivery.attempts)) == ("failed", 1)


@pytest.mark.parametrize(
    ("answer", "chats"), [("short", 1), ("empty", 0), ("keyless", None), ("malformed", None), ("html", None)]
)
async def test_wrong_answers(sandbox: RunningSandbox, answer: str, chats: int | None) -> None:
    for number in range(3):
        await sandbox.emit(chat_id=f"c{number}")
    await sandbox.fault("api_answer", answer=answer, path="/v3/chats", count=1)
    async with sandbox.http.get(f"{sandbox.url}/v3/chats") as response:
        assert response.status == 200
        text = await response.text()
    if chats is None:
        assert answer == "keyless" or not text.endswith("}")
        assert "chats" not in text or answer == "malformed"
    else:
        assert len(json.loads(text)["chats"]) == chats
    assert len((await sandbox.client.chats.list_chats()).chats) == 3


@pytest.mark.parametrize("status", [502, 503])
async def test_calls_can_fail_as_a_gateway_does(sandbox: RunningSandbox, status: int) -> None:
    await sandbox.fault("api_error", status=status, count=1)
    with pytest.raises(linq.InternalServerError) as failed:
        await sandbox.client.chats.list_chats()
    assert failed.value.status_code == status
