"""The v2 API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.linq.payloads.event_types import V2_TYPES
from tests.sandbox.api.calling_v2 import GOOD, NUMBERS, SUBSCRIPTIONS, URL, call, listed, subscribe
from tests.sandbox.running import LINE, LINES, OTHER_LINE, Endpoint, RunningSandbox

# --- Subscriptions -----------------------------------------------------------------------------------


async def test_create_returns_the_wrapped_subscription(sandbox: RunningSandbox) -> None:
    fields = GOOD | {"secret": "our-own-secret", "active": True}
    response = await call(sandbox, "POST", SUBSCRIPTIONS, json={"webhook_subscription": fields})
    assert response.status == 201
    made = response.json["webhook_subscription"]
    assert datetime.now(UTC) - datetime.fromisoformat(made.pop("created_at")) < timedelta(minutes=1)
    assert datetime.now(UTC) - datetime.fromisoformat(made.pop("updated_at")) < timedelta(minutes=1)
    assert made == {
        "id": 1,
        **GOOD,
        "active": True,
        "secret_configured": True,
        "last_delivered_at": None,
        "delivery_attempts": 0,
    }


async def test_secret_and_active_are_optional(sandbox: RunningSandbox) -> None:
    made = await subscribe(sandbox)
    assert (made["secret_configured"], made["active"]) == (False, True)


async def test_secret_is_never_returned(sandbox: RunningSandbox) -> None:
    body = {"webhook_subscription": GOOD | {"secret": "our-own-secret"}}
    made = await call(sandbox, "POST", SUBSCRIPTIONS, json=body)
    changed = await call(sandbox, "PUT", f"{SUBSCRIPTIONS}/1", json=body)
    for response in (made, changed, await call(sandbox, "GET", SUBSCRIPTIONS)):
        assert "our-own-secret" not in str(response)
    assert sandbox.sandbox.state.v2_subscriptions[1].secret == "our-own-secret"


async def test_every_event_type_is_accepted_without_duplicates(sandbox: RunningSandbox) -> None:
    made = await subscribe(sandbox, events=[*V2_TYPES, *V2_TYPES])
    assert tuple(made["events"]) == V2_TYPES


async def test_duplicate_subscription_is_allowed(sandbox: RunningSandbox) -> None:
    made = [await subscribe(sandbox) for _ in range(3)]
    assert (
        [subscription["id"] for subscription in await listed(sandbox)]
        == [subscription["id"] for subscription in made]
        == [1, 2, 3]
    )


async def test_list_has_active_and_inactive_subscriptions(sandbox: RunningSandbox) -> None:
    assert await listed(sandbox) == []
    first, second = await subscribe(sandbox), await subscribe(sandbox, active=False)
    assert await listed(sandbox) == [first, second]
    assert [first["active"], second["active"]] == [True, False]


async def test_subscribed_event_is_delivered_signed_and_counted(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await subscribe(sandbox, webhook_url=endpoint.url, secret="our-own-secret")
    endpoint.statuses.append(500)
    for attempts in (1, 2):
        await sandbox.emit("message.received", api="v2")
        await sandbox.settled()
        (row,) = await listed(sandbox)
        assert row["delivery_attempts"] == attempts
        assert (row["last_delivered_at"] is None) == (attempts == 1)
    assert all(received.is_signed_by_v2("our-own-secret") for received in endpoint.received)


async def test_both_subscriptions_with_one_url_get_events(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    for _ in range(2):
        await subscribe(sandbox, webhook_url=endpoint.url)
    await sandbox.emit("message.received", api="v2", event_id="once")
    await sandbox.settled()
    assert [received.json["event_id"] for received in endpoint.received] == ["once", "once"]


async def test_update_returns_the_updated_subscription(sandbox: RunningSandbox) -> None:
    before = await subscribe(sandbox, secret="old")
    fields = {"webhook_url": URL + "/x", "version": 2, "events": ["chat.created"], "secret": "new", "active": False}
    response = await call(sandbox, "PUT", f"{SUBSCRIPTIONS}/{before['id']}", json={"webhook_subscription": fields})
    after = response.json["webhook_subscription"]
    assert response.status == 200
    assert after["updated_at"] >= before["updated_at"]
    del fields["secret"]
    assert after == before | fields | {"updated_at": after["updated_at"]}
    assert await listed(sandbox) == [after]
    assert sandbox.sandbox.state.v2_subscriptions[before["id"]].secret == "new"


async def test_update_keeps_omitted_secret_and_active(sandbox: RunningSandbox) -> None:
    made = await subscribe(sandbox, secret="kept", active=False)
    response = await call(sandbox, "PUT", f"{SUBSCRIPTIONS}/{made['id']}", json={"webhook_subscription": GOOD})
    after = response.json["webhook_subscription"]
    assert (after["secret_configured"], after["active"]) == (True, False)
    assert sandbox.sandbox.state.v2_subscriptions[made["id"]].secret == "kept"


async def test_empty_secret_is_no_secret(sandbox: RunningSandbox) -> None:
    made = await subscribe(sandbox, secret="kept")
    fields = {"webhook_subscription": GOOD | {"secret": ""}}
    response = await call(sandbox, "PUT", f"{SUBSCRIPTIONS}/{made['id']}", json=fields)
    assert response.json["webhook_subscription"]["secret_configured"] is False


async def test_deleted_id_is_not_reused(sandbox: RunningSandbox) -> None:
    first = await subscribe(sandbox)
    assert (await call(sandbox, "DELETE", f"{SUBSCRIPTIONS}/{first['id']}")).status == 204
    assert await listed(sandbox) == []
    assert (await subscribe(sandbox))["id"] == first["id"] + 1


# --- Phone numbers ------------------------------------------------------------------------------------


async def test_phone_numbers_are_the_lines_of_the_account(sandbox: RunningSandbox) -> None:
    rows = (await call(sandbox, "GET", NUMBERS)).json["phone_numbers"]
    assert tuple(row["phone_number"] for row in rows) == LINES
    assert len({row["id"] for row in rows}) == len(LINES)
    assert {type(row["id"]) for row in rows} == {int}
    assert {(row["forwarding_number"], row["response_rate"]) for row in rows} == {(None, 1)}


@pytest.mark.parametrize("cleared", ["", None])
async def test_call_forwarding_is_set_and_removed(sandbox: RunningSandbox, cleared: str | None) -> None:
    row = (await call(sandbox, "GET", NUMBERS)).json["phone_numbers"][1]
    steps: list[tuple[Any, str | None]] = [
        ({"forwarding_number": LINE}, LINE),
        ({}, LINE),
        ({"forwarding_number": cleared}, None),
    ]
    for asked, then in steps:
        response = await call(sandbox, "PUT", f"{NUMBERS}/{row['id']}", json=asked)
        assert (response.status, response.json) == (200, row | {"forwarding_number": then})
        assert row["phone_number"] == OTHER_LINE
        assert (await call(sandbox, "GET", NUMBERS)).json["phone_numbers"][1] == response.json


async def test_forwarding_is_shared_by_both_apis(sandbox: RunningSandbox) -> None:
    row = (await call(sandbox, "GET", NUMBERS)).json["phone_numbers"][0]
    await call(sandbox, "PUT", f"{NUMBERS}/{row['id']}", json={"forwarding_number": OTHER_LINE})
    numbers = (await sandbox.client.phone_numbers.list()).phone_numbers
    assert [number.forwarding_number for number in numbers] == [OTHER_LINE, None, None]


# --- Prefix -------------------------------------------------------------------------------------------


async def test_api_is_served_with_and_without_prefix(sandbox: RunningSandbox) -> None:
    made = await subscribe(sandbox)
    response = await call(sandbox, "GET", f"/api/partner{SUBSCRIPTIONS}")
    assert response.json == {"webhook_subscriptions": [made]}


async def test_subscriptions_of_the_two_apis_are_separate(sandbox: RunningSandbox) -> None:
    await subscribe(sandbox)
    assert (await sandbox.client.webhook_subscriptions.list()).subscriptions == []
    await sandbox.subscribe(URL)
    assert len(await listed(sandbox)) == 1
