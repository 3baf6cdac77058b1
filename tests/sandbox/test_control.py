"""The control API: deliveries, faults, lines and state."""

from __future__ import annotations

from typing import Any

import linq
import pytest

from tests.sandbox.running import LINE, LINES, Endpoint, RunningSandbox

# --- Deliveries ---------------------------------------------------------------------------------------


async def test_deliveries_are_filtered_by_event_subscription_state(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    first, second = await sandbox.subscribe(f"{endpoint.url}/1"), await sandbox.subscribe(f"{endpoint.url}/2")
    endpoint.statuses.append(404)
    emitted = (await sandbox.emit())["event_id"]
    await sandbox.settled()
    await sandbox.emit(count=3)
    await sandbox.settled()

    async def total(query: str) -> int:
        response = await sandbox.get(f"/sandbox/deliveries{query}")
        assert len(response["deliveries"]) == response["total"]
        return int(response["total"])

    assert await total("") == 8
    assert await total(f"?event_id={emitted}") == 2
    assert await total(f"?subscription_id={second.id}") == 4
    assert await total("?state=failed") == 1
    assert await total(f"?event_id={emitted}&subscription_id={first.id}") == 1
    assert await total("?event_id=nothing") == 0


async def test_limit_returns_newest_deliveries(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    sent = (await sandbox.emit(count=5))["event_ids"]
    response = await sandbox.get("/sandbox/deliveries?limit=2")
    assert ([delivery["event_id"] for delivery in response["deliveries"]], response["total"]) == (sent[3:], 5)


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "colour=red"])
async def test_invalid_query_is_400(sandbox: RunningSandbox, query: str) -> None:
    async with sandbox.http.get(f"{sandbox.url}/sandbox/deliveries?{query}") as response:
        assert response.status == 400
        assert query.split("=", maxsplit=1)[0] in (await response.json())["error"]["message"]


async def test_lines_are_added_and_removed_while_it_runs(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    new = "+16465550126"
    await sandbox.subscribe(endpoint.url, "phone_number.assigned", "phone_number.released", "message.received")
    lines = f"{sandbox.url}/sandbox/lines"

    async def status_of(method: str, url: str, **more: Any) -> int:
        async with sandbox.http.request(method, url, **more) as response:
            return response.status

    assert await status_of("POST", lines, json={"line": new}) == 201
    assert (await sandbox.get("/sandbox/lines"))["lines"] == [*LINES, new]
    assert new in [row["phone_number"] for row in (await sandbox.get("/v3/phone_numbers"))["phone_numbers"]]
    assert (await sandbox.emit(line=new))["subscriptions"] == 1
    assert await status_of("POST", lines, json={"line": new}) == 409
    assert await status_of("POST", lines, json={"line": "123"}) == 400
    assert await status_of("DELETE", f"{lines}/{LINE}") == 200
    assert await status_of("DELETE", f"{lines}/{LINE}") == 404
    assert (await sandbox.get("/sandbox/lines"))["lines"] == [*LINES[1:], new]
    await sandbox.settled()
    sent = [(each.json["event_type"], each.json["data"].get("phone_number")) for each in endpoint.received]
    assert {("phone_number.assigned", new), ("phone_number.released", LINE)} < {*sent}
    for line in (*LINES[1:], new):
        last = await status_of("DELETE", f"{lines}/{line}")
    assert last == 409


async def test_deliveries_can_be_deleted(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit()
    await sandbox.settled()
    async with sandbox.http.delete(f"{sandbox.url}/sandbox/deliveries") as response:
        assert response.status == 204
    assert (await sandbox.get("/sandbox/deliveries"))["total"] == 0


# --- Faults -------------------------------------------------------------------------------------------


async def test_faults_are_added_listed_and_removed(sandbox: RunningSandbox) -> None:
    made = await sandbox.fault("duplicate", times=3, count=10, line=LINE)
    assert made == {
        "id": 1,
        "kind": "duplicate",
        "times": 3,
        "count": 10,
        "left": 10,
        "held": 0,
        "events": ["*"],
        "line": LINE,
        "share": 1.0,
        "seed": 1,
    }
    other = await sandbox.fault("forge")
    assert (await sandbox.get("/sandbox/faults"))["faults"] == [made, other]
    async with sandbox.http.delete(f"{sandbox.url}/sandbox/faults/{made['id']}") as response:
        assert response.status == 204
    async with sandbox.http.delete(f"{sandbox.url}/sandbox/faults/{made['id']}") as response:
        assert response.status == 404
    assert (await sandbox.get("/sandbox/faults"))["faults"] == [other]
    await sandbox.clear_faults()
    assert (await sandbox.get("/sandbox/faults"))["faults"] == []


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ({"data": b"{"}, "JSON"),
        ({"json": {"kind": "gremlin"}}, "duplicate"),
        ({"json": {"kind": "duplicate", "times": 1}}, "times: it must be at least 2"),
        ({"json": {"kind": "forge", "events": ["*.sent"]}}, "is not an event-type pattern"),
        ({"json": {}}, "kind: one of 'duplicate', 'reorder', 'late'"),
        ({"json": {"kind": "flood"}}, "kind: one of 'duplicate', 'reorder', 'late'"),
        ({"json": {"kind": "disable"}}, "give either subscription_id or line"),
    ],
)
async def test_invalid_fault_is_400_with_the_reason(sandbox: RunningSandbox, sent: Any, text: str) -> None:
    async with sandbox.http.post(f"{sandbox.url}/sandbox/faults", **sent) as response:
        assert response.status == 400
        assert text in (await response.json())["error"]["message"]


# --- Another account ----------------------------------------------------------------------------------


async def test_foreign_subscription_is_403_and_not_listed(sandbox: RunningSandbox) -> None:
    async with sandbox.http.post(f"{sandbox.url}/sandbox/foreign-subscription") as response:
        assert response.status == 201
        foreign = (await response.json())["id"]
    api = sandbox.client.webhook_subscriptions
    for call in (api.retrieve(foreign), api.update(foreign, is_active=True), api.delete(foreign)):
        with pytest.raises(linq.PermissionDeniedError) as refused:
            await call
        assert (refused.value.status_code, refused.value.code) == (403, 2005)
    assert (await api.list()).subscriptions == []


# --- State --------------------------------------------------------------------------------------------


async def test_state_has_everything_except_secrets(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    sandbox.subscribe_v2(endpoint.url, "message.sent", secret="v2-secret")
    await sandbox.fault("forge")
    await sandbox.emit()
    await sandbox.settled()
    state = await sandbox.get("/sandbox/state")
    assert state["lines"] == list(LINES)
    assert [subscription["id"] for subscription in state["subscriptions"]] == [made.id]
    assert [subscription["secret_configured"] for subscription in state["v2_subscriptions"]] == [True]
    assert [fault["kind"] for fault in state["faults"]] == ["forge"]
    assert state["deliveries"] == {"delivered": 1}
    assert made.signing_secret not in str(state)
    assert "v2-secret" not in str(state)


async def test_a_flagged_line_changes_its_reputation(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url, "phone_number.status_updated")
    reputations = []
    for flagged in (True, False):
        url = f"{sandbox.url}/sandbox/lines/{LINE}"
        async with sandbox.http.put(url, json={"flagged": flagged}) as response:
            assert response.status == 200
        listed = await sandbox.client.phone_numbers.list()
        reputations.append(listed.phone_numbers[0].reputation.status)
    assert reputations == ["CRITICAL", "HEALTHY"]
    assert [delivery.event_type for delivery in await sandbox.settled()] == ["phone_number.status_updated"] * 2
    async with sandbox.http.put(f"{sandbox.url}/sandbox/lines/+19995550100", json={"flagged": True}) as response:
        assert response.status == 404
