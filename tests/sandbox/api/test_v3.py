"""The v3 API, called with the official SDK."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import linq
import pytest

from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from tests.sandbox.running import API_KEY, LINE, LINES, OTHER_LINE, RunningSandbox

TARGET = "https://relay.example.com/webhooks/linq?line=1"
OTHER_TARGET = "https://relay.example.com/webhooks/linq?line=2"


# --- Subscriptions -----------------------------------------------------------------------------------


async def test_create_returns_subscription_and_secret(sandbox: RunningSandbox) -> None:
    response = await sandbox.client.webhook_subscriptions.with_raw_response.create(
        target_url=TARGET, subscribed_events=["message.received", "message.sent"], phone_numbers=[LINE]
    )
    assert response.status_code == 201
    made = await response.parse()
    assert made.target_url == TARGET
    assert made.subscribed_events == ["message.received", "message.sent"]
    assert made.phone_numbers == [LINE]
    assert made.is_active is True
    assert datetime.now(UTC) - made.created_at < timedelta(minutes=1)
    assert len(made.id) == 36


async def test_secret_is_whsec_and_32_random_bytes(sandbox: RunningSandbox) -> None:
    secrets = {(await sandbox.subscribe(target)).signing_secret for target in (TARGET, OTHER_TARGET)}
    assert len(secrets) == 2
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


async def test_secret_is_returned_by_create_only(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    api = sandbox.client.webhook_subscriptions.with_raw_response
    events: Any = ["message.sent"]
    for response in (
        await api.list(),
        await api.retrieve(made.id),
        await api.update(made.id, subscribed_events=events),
    ):
        assert made.id in await response.text()
        assert "whsec_" not in await response.text()


async def test_list_has_active_and_inactive_subscriptions(sandbox: RunningSandbox) -> None:
    assert (await sandbox.client.webhook_subscriptions.list()).subscriptions == []
    first, second = await sandbox.subscribe(TARGET), await sandbox.subscribe(OTHER_TARGET)
    await sandbox.client.webhook_subscriptions.update(second.id, is_active=False)
    listed = (await sandbox.client.webhook_subscriptions.list()).subscriptions
    assert {subscription.id: subscription.is_active for subscription in listed} == {first.id: True, second.id: False}


async def test_retrieve_returns_the_subscription(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET, "message.read", lines=[OTHER_LINE])
    retrieved = await sandbox.client.webhook_subscriptions.retrieve(made.id)
    assert retrieved.to_dict() == {key: value for key, value in made.to_dict().items() if key != "signing_secret"}


async def test_subscription_without_lines_has_null_phone_numbers(sandbox: RunningSandbox) -> None:
    made = await sandbox.client.webhook_subscriptions.create(target_url=TARGET, subscribed_events=["message.sent"])
    assert made.phone_numbers is None


async def test_duplicate_event_types_are_removed(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET, "message.sent", "message.read", "message.sent")
    assert made.subscribed_events == ["message.sent", "message.read"]


@pytest.mark.parametrize(
    "change",
    [
        {"target_url": OTHER_TARGET},
        {"subscribed_events": ["reaction.added"]},
        {"phone_numbers": [OTHER_LINE]},
        {"is_active": False},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_update_changes_only_given_fields(sandbox: RunningSandbox, change: Any) -> None:
    made = await sandbox.subscribe(TARGET, lines=[LINE])
    before = await sandbox.client.webhook_subscriptions.retrieve(made.id)
    updated = await sandbox.client.webhook_subscriptions.update(made.id, **change)
    assert updated.updated_at >= before.updated_at
    expected = {**before.to_dict(), **change, "updated_at": updated.updated_at}
    assert updated.to_dict() == expected
    assert (await sandbox.client.webhook_subscriptions.retrieve(made.id)).to_dict() == expected


@pytest.mark.parametrize("cleared", [None, []], ids=["null", "empty"])
async def test_update_with_null_or_empty_list_removes_line_filter(sandbox: RunningSandbox, cleared: Any) -> None:
    made = await sandbox.subscribe(TARGET, lines=[LINE])
    updated = await sandbox.client.webhook_subscriptions.update(made.id, phone_numbers=cleared)
    assert updated.phone_numbers is None


async def test_update_accepts_the_current_url(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    assert (await sandbox.client.webhook_subscriptions.update(made.id, target_url=TARGET)).target_url == TARGET


async def test_update_keeps_the_secret(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    await sandbox.client.webhook_subscriptions.update(made.id, target_url=OTHER_TARGET)
    assert sandbox.sandbox.state.subscriptions[made.id].secret.text == made.signing_secret


async def test_delete_removes_the_subscription(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    response = await sandbox.client.webhook_subscriptions.with_raw_response.delete(made.id)
    assert (response.status_code, await response.read()) == (204, b"")
    with pytest.raises(linq.NotFoundError):
        await sandbox.client.webhook_subscriptions.retrieve(made.id)
    assert (await sandbox.client.webhook_subscriptions.list()).subscriptions == []


async def test_url_of_a_deleted_subscription_can_be_reused(sandbox: RunningSandbox) -> None:
    first = await sandbox.subscribe(TARGET)
    await sandbox.client.webhook_subscriptions.delete(first.id)
    second = await sandbox.subscribe(TARGET)
    assert second.id != first.id
    assert second.signing_secret != first.signing_secret


# --- Event types and phone numbers ---------------------------------------------------------------------------


async def test_event_types_are_those_of_the_sdk(sandbox: RunningSandbox) -> None:
    response = await sandbox.client.webhook_events.list()
    assert tuple(response.events) == KNOWN_EVENT_TYPES
    type(response).model_validate(response.to_dict())  # the SDK itself does not validate


async def test_phone_numbers_are_the_lines_of_the_account(sandbox: RunningSandbox) -> None:
    response = await sandbox.client.phone_numbers.list()
    assert tuple(number.phone_number for number in response.phone_numbers) == LINES
    assert len({number.id for number in response.phone_numbers}) == len(LINES)
    assert {number.reputation.status for number in response.phone_numbers} == {"HEALTHY"}
    type(response).model_validate(response.to_dict())


# --- Prefix -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/api/partner", ""])
async def test_api_is_served_with_and_without_prefix(sandbox: RunningSandbox, prefix: str) -> None:
    async with linq.AsyncLinqAPIV3(api_key=API_KEY, base_url=sandbox.url + prefix) as client:
        made = await client.webhook_subscriptions.create(target_url=TARGET, subscribed_events=["message.sent"])
        assert (await client.webhook_subscriptions.list()).subscriptions[0].id == made.id
    assert sandbox.calls == ["POST /v3/webhook-subscriptions", "GET /v3/webhook-subscriptions"]
