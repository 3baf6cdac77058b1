"""Errors of the v3 API, as seen by the official SDK."""

from __future__ import annotations

from typing import Any

import linq
import pytest

from tests.sandbox.running import API_KEY, LINE, RunningSandbox, running_sandbox

TARGET = "https://relay.example.com/webhooks/linq?line=1"
OTHER_TARGET = "https://relay.example.com/webhooks/linq?line=2"


@pytest.mark.parametrize("key", ["wrong", API_KEY + "x", API_KEY[:-1]])
async def test_wrong_api_key_is_401(sandbox: RunningSandbox, key: str) -> None:
    async with linq.AsyncLinqAPIV3(api_key=key, base_url=sandbox.base_url, max_retries=0) as client:
        with pytest.raises(linq.AuthenticationError) as refused:
            await client.webhook_subscriptions.list()
    assert (refused.value.status_code, refused.value.code) == (401, 2004)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        *((f"{scheme} {API_KEY}", 200) for scheme in ("Bearer", "bearer", "BEARER", "Bearer ")),
        *((value, 401) for value in ("Bearer", f"Basic {API_KEY}", API_KEY, f"Bearer{API_KEY}", f"bearer {API_KEY} x")),
    ],
)
async def test_scheme_of_the_key_is_case_insensitive(sandbox: RunningSandbox, authorization: str, status: int) -> None:
    headers = {"Authorization": authorization}
    async with sandbox.http.get(f"{sandbox.url}/v3/phone_numbers", headers=headers) as response:
        assert response.status == status


async def test_filter_by_a_line_of_another_account_is_refused(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET, lines=[LINE])
    for call in (
        sandbox.subscribe(OTHER_TARGET, lines=[LINE, "+16465550199"]),
        sandbox.client.webhook_subscriptions.update(made.id, phone_numbers=["+16465550199"]),
    ):
        with pytest.raises(linq.PermissionDeniedError) as refused:
            await call
        assert (refused.value.status_code, refused.value.code) == (403, 2006)
    sandbox.sandbox.state.lines.remove(LINE)
    kept = await sandbox.client.webhook_subscriptions.update(made.id, phone_numbers=[LINE])
    assert kept.phone_numbers == [LINE]


async def test_target_url_is_unique(sandbox: RunningSandbox) -> None:
    await sandbox.subscribe(TARGET)
    with pytest.raises(linq.ConflictError) as refused:
        await sandbox.subscribe(TARGET)
    assert (refused.value.status_code, refused.value.code) == (409, 2015)
    assert len(sandbox.sandbox.state.subscriptions) == 1


async def test_urls_with_other_queries_are_distinct(sandbox: RunningSandbox) -> None:
    await sandbox.subscribe(TARGET)
    await sandbox.subscribe(TARGET + "&gen=2")
    assert len(sandbox.sandbox.state.subscriptions) == 2


async def test_update_to_the_url_of_another_is_409(sandbox: RunningSandbox) -> None:
    await sandbox.subscribe(TARGET)
    second = await sandbox.subscribe(OTHER_TARGET)
    with pytest.raises(linq.ConflictError) as refused:
        await sandbox.client.webhook_subscriptions.update(second.id, target_url=TARGET)
    assert refused.value.code == 2015


async def test_unknown_subscription_is_404(sandbox: RunningSandbox) -> None:
    api = sandbox.client.webhook_subscriptions
    for call in (api.retrieve("nothing"), api.update("nothing", is_active=True), api.delete("nothing")):
        with pytest.raises(linq.NotFoundError) as refused:
            await call
        assert (refused.value.status_code, refused.value.code) == (404, 2010)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"subscribed_events": ["message.sent"]}, 1001),
        ({"target_url": TARGET}, 1001),
        ({"target_url": TARGET, "subscribed_events": []}, 1001),
        ({"target_url": TARGET, "subscribed_events": ["message.sent"], "phone_numbers": ["6465550123"]}, 1002),
        ({"target_url": TARGET, "subscribed_events": ["message.sent"], "phone_numbers": [LINE, 5]}, 1002),
        ({"target_url": TARGET, "subscribed_events": ["message.sent"], "phone_numbers": LINE}, 1005),
        ({"target_url": TARGET, "subscribed_events": ["message.teleported"]}, 1005),
        ({"target_url": TARGET, "subscribed_events": "message.sent"}, 1005),
        ({"target_url": TARGET, "subscribed_events": [["message.sent"]]}, 1005),
        ({"target_url": 5, "subscribed_events": ["message.sent"]}, 1005),
        ({"target_url": "relay.example.com", "subscribed_events": ["message.sent"]}, 1005),
        ({"target_url": "https://", "subscribed_events": ["message.sent"]}, 1005),
    ],
)
async def test_create_rejects_invalid_fields(sandbox: RunningSandbox, body: Any, code: int) -> None:
    with pytest.raises(linq.BadRequestError) as refused:
        await sandbox.client.post("/v3/webhook-subscriptions", body=body, cast_to=object)
    assert (refused.value.status_code, refused.value.code) == (400, code)
    assert not sandbox.sandbox.state.subscriptions


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"subscribed_events": []}, 1001),
        ({"subscribed_events": None}, 1001),
        ({"target_url": None}, 1005),
        ({"phone_numbers": ["x"]}, 1002),
        ({"is_active": "yes"}, 1005),
        ({"is_active": None}, 1005),
    ],
)
async def test_update_rejects_invalid_fields(sandbox: RunningSandbox, change: Any, code: int) -> None:
    made = await sandbox.subscribe(TARGET)
    before = await sandbox.client.webhook_subscriptions.retrieve(made.id)
    with pytest.raises(linq.BadRequestError) as refused:
        await sandbox.client.put(f"/v3/webhook-subscriptions/{made.id}", body=change, cast_to=object)
    assert refused.value.code == code
    assert await sandbox.client.webhook_subscriptions.retrieve(made.id) == before


async def test_rejected_update_changes_nothing(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    with pytest.raises(linq.BadRequestError):
        await sandbox.client.webhook_subscriptions.update(made.id, target_url=OTHER_TARGET, phone_numbers=["x"])
    assert (await sandbox.client.webhook_subscriptions.retrieve(made.id)).target_url == TARGET


@pytest.mark.parametrize(
    "target",
    [
        "http://relay.example.com/x",
        "ftp://relay.example.com/x",
        "https://localhost/x",
        "https://api.localhost/x",
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://192.168.0.10/x",
        "https://169.254.169.254/x",
        "https://[::1]/x",
        "https://[fd00::1]/x",
    ],
)
async def test_only_https_to_public_addresses_is_accepted(target: str) -> None:
    async with running_sandbox(allow_local=False) as sandbox:
        with pytest.raises(linq.BadRequestError) as refused:
            await sandbox.subscribe(target)
        assert refused.value.code == 1005
        await sandbox.subscribe("https://relay.example.com/x")
        await sandbox.subscribe("https://203.0.114.7/x")


@pytest.mark.parametrize("target", ["http://127.0.0.1:8080/x", "http://localhost/x", "https://10.1.2.3/x"])
async def test_local_targets_are_accepted_with_allow_local(sandbox: RunningSandbox, target: str) -> None:
    assert (await sandbox.subscribe(target)).target_url == target


@pytest.mark.parametrize("target", ["https://[relay/x", "https://relay.example.com/\ud800"])
async def test_target_that_is_not_a_url_is_400(sandbox: RunningSandbox, target: str) -> None:
    body = {"target_url": target, "subscribed_events": ["message.sent"]}
    async with sandbox.http.post(f"{sandbox.url}/v3/webhook-subscriptions", json=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == 1005


@pytest.mark.parametrize("target", ["https://relay.example.com:99999/x", "https://relay example.com/x"])
async def test_unusable_target_url_is_400(sandbox: RunningSandbox, target: str) -> None:
    with pytest.raises(linq.BadRequestError):
        await sandbox.subscribe(target)
