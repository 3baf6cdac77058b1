"""Linq's v3 API as the sandbox plays it, called with the official SDK as it comes."""

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


# --- The life of a subscription -----------------------------------------------------------------------


async def test_create_answers_201_with_the_subscription_and_its_secret(sandbox: RunningSandbox) -> None:
    answer = await sandbox.client.webhook_subscriptions.with_raw_response.create(
        target_url=TARGET, subscribed_events=["message.received", "message.sent"], phone_numbers=[LINE]
    )
    assert answer.status_code == 201
    made = await answer.parse()
    assert made.target_url == TARGET
    assert made.subscribed_events == ["message.received", "message.sent"]
    assert made.phone_numbers == [LINE]
    assert made.is_active is True
    assert datetime.now(UTC) - made.created_at < timedelta(minutes=1)
    assert len(made.id) == 36


async def test_a_secret_is_whsec_and_32_random_bytes(sandbox: RunningSandbox) -> None:
    secrets = {(await sandbox.subscribe(target)).signing_secret for target in (TARGET, OTHER_TARGET)}
    assert len(secrets) == 2
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


async def test_a_secret_is_shown_once(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    api = sandbox.client.webhook_subscriptions.with_raw_response
    events: Any = ["message.sent"]
    for answer in (await api.list(), await api.retrieve(made.id), await api.update(made.id, subscribed_events=events)):
        assert made.id in await answer.text()
        assert "whsec_" not in await answer.text()


async def test_list_shows_active_and_inactive_ones(sandbox: RunningSandbox) -> None:
    assert (await sandbox.client.webhook_subscriptions.list()).subscriptions == []
    first, second = await sandbox.subscribe(TARGET), await sandbox.subscribe(OTHER_TARGET)
    await sandbox.client.webhook_subscriptions.update(second.id, is_active=False)
    listed = (await sandbox.client.webhook_subscriptions.list()).subscriptions
    assert {one.id: one.is_active for one in listed} == {first.id: True, second.id: False}


async def test_retrieve_shows_one(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET, "message.read", lines=[OTHER_LINE])
    shown = await sandbox.client.webhook_subscriptions.retrieve(made.id)
    assert shown.to_dict() == {key: value for key, value in made.to_dict().items() if key != "signing_secret"}


async def test_a_subscription_without_lines_shows_none(sandbox: RunningSandbox) -> None:
    made = await sandbox.client.webhook_subscriptions.create(target_url=TARGET, subscribed_events=["message.sent"])
    assert made.phone_numbers is None


async def test_event_types_named_twice_count_once(sandbox: RunningSandbox) -> None:
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
async def test_update_changes_what_is_named_and_nothing_else(sandbox: RunningSandbox, change: Any) -> None:
    made = await sandbox.subscribe(TARGET, lines=[LINE])
    before = await sandbox.client.webhook_subscriptions.retrieve(made.id)
    updated = await sandbox.client.webhook_subscriptions.update(made.id, **change)
    assert updated.updated_at >= before.updated_at
    expected = {**before.to_dict(), **change, "updated_at": updated.updated_at}
    assert updated.to_dict() == expected
    assert (await sandbox.client.webhook_subscriptions.retrieve(made.id)).to_dict() == expected


@pytest.mark.parametrize("cleared", [None, []], ids=["null", "empty"])
async def test_update_with_null_or_an_empty_list_removes_the_line_filter(sandbox: RunningSandbox, cleared: Any) -> None:
    made = await sandbox.subscribe(TARGET, lines=[LINE])
    updated = await sandbox.client.webhook_subscriptions.update(made.id, phone_numbers=cleared)
    assert updated.phone_numbers is None


async def test_update_may_name_the_url_that_the_subscription_has(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    assert (await sandbox.client.webhook_subscriptions.update(made.id, target_url=TARGET)).target_url == TARGET


async def test_update_keeps_the_secret(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    await sandbox.client.webhook_subscriptions.update(made.id, target_url=OTHER_TARGET)
    assert sandbox.sandbox.state.subscriptions[made.id].secret.text == made.signing_secret


async def test_delete_answers_204_and_the_subscription_is_gone(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    answer = await sandbox.client.webhook_subscriptions.with_raw_response.delete(made.id)
    assert (answer.status_code, await answer.read()) == (204, b"")
    with pytest.raises(linq.NotFoundError):
        await sandbox.client.webhook_subscriptions.retrieve(made.id)
    assert (await sandbox.client.webhook_subscriptions.list()).subscriptions == []


async def test_the_url_of_a_deleted_subscription_can_be_used_again(sandbox: RunningSandbox) -> None:
    first = await sandbox.subscribe(TARGET)
    await sandbox.client.webhook_subscriptions.delete(first.id)
    second = await sandbox.subscribe(TARGET)
    assert second.id != first.id
    assert second.signing_secret != first.signing_secret


# --- What can be looked up ----------------------------------------------------------------------------


async def test_event_types_are_the_ones_that_the_sdk_knows(sandbox: RunningSandbox) -> None:
    answer = await sandbox.client.webhook_events.list()
    assert tuple(answer.events) == KNOWN_EVENT_TYPES
    type(answer).model_validate(answer.to_dict())  # the SDK itself would not complain


async def test_phone_numbers_are_the_lines_of_the_account(sandbox: RunningSandbox) -> None:
    answer = await sandbox.client.phone_numbers.list()
    assert tuple(number.phone_number for number in answer.phone_numbers) == LINES
    assert len({number.id for number in answer.phone_numbers}) == len(LINES)
    assert {number.reputation.status for number in answer.phone_numbers} == {"HEALTHY"}
    type(answer).model_validate(answer.to_dict())


# --- Where it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/api/partner", ""])
async def test_the_api_is_there_with_and_without_the_prefix_of_linqs_host(sandbox: RunningSandbox, prefix: str) -> None:
    async with linq.AsyncLinqAPIV3(api_key=API_KEY, base_url=sandbox.url + prefix) as client:
        made = await client.webhook_subscriptions.create(target_url=TARGET, subscribed_events=["message.sent"])
        assert (await client.webhook_subscriptions.list()).subscriptions[0].id == made.id
    assert sandbox.calls == ["POST /v3/webhook-subscriptions", "GET /v3/webhook-subscriptions"]
