"""Account events about changes made through the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.sandbox.state import line_id
from tests.linq.sdk_payloads import class_of
from tests.sandbox.running import LINE, Endpoint, RunningSandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN = [event_type for event_type in KNOWN_EVENT_TYPES if event_type.startswith("webhook_subscription.")] + [
    "phone_number.forwarding_updated"
]
TARGET = "https://relay.example.com/in"


async def received_events(sandbox: RunningSandbox, endpoint: Endpoint) -> list[tuple[str, Mapping[str, Any]]]:
    """Return type and data of the events since the last call, after validation with the SDK."""
    await sandbox.settled()
    events = [request.json for request in endpoint.received]
    for request in endpoint.received:
        class_of(request.json["event_type"]).model_validate_json(request.body, strict=True)
    endpoint.received.clear()
    return [(event["event_type"].removeprefix("webhook_subscription."), event["data"]) for event in events]


@pytest.fixture
async def listener(sandbox: RunningSandbox, endpoint: Endpoint) -> str:
    """Create a subscription to all event types, discard the event about itself, and return its id."""
    made = await sandbox.subscribe(endpoint.url, *OWN)
    [(event, data)] = await received_events(sandbox, endpoint)
    assert (event, data["webhook_subscription"]["id"]) == ("created", made.id)
    assert data["webhook_subscription"]["events"] == OWN
    return str(made.id)


@pytest.mark.usefixtures("listener")
async def test_subscription_changes_are_account_events(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    api = sandbox.client.webhook_subscriptions
    made = await sandbox.subscribe(TARGET, "message.sent")
    await received_events(sandbox, endpoint)

    async def changed(**fields: Any) -> list[tuple[str, Any]]:
        await api.update(made.id, **fields)
        return [(event, data.get("change")) for event, data in await received_events(sandbox, endpoint)]

    assert await changed(target_url=f"{TARGET}2") == [("target_url_changed", {"from": TARGET, "to": f"{TARGET}2"})]
    assert await changed(subscribed_events=["message.read"]) == [
        ("events.updated", {"from": ["message.sent"], "to": ["message.read"]})
    ]
    assert await changed(phone_numbers=[LINE]) == [("phone_numbers.updated", {"from": None, "to": [LINE]})]
    assert await changed(is_active=False) == [("disabled", None)]
    assert await changed(is_active=True) == [("enabled", None)]
    routing = {"routing_key_header": "X-Key", "routing_id_header": "Linq-Chat-Id"}
    assert await changed(routing_key_header="X-Key") == [("routing_headers_set", {"from": None, "to": routing})]
    assert await changed(routing_key_header=None) == [("routing_headers_cleared", {"from": routing, "to": None})]
    assert await changed() == await changed(is_active=True) == []

    await api.delete(made.id)
    [(event, data)] = await received_events(sandbox, endpoint)
    assert (event, data["webhook_subscription"]["id"], data["origin"]) == ("deleted", made.id, "api")


async def test_disabled_event_has_its_origin(sandbox: RunningSandbox, endpoint: Endpoint, listener: str) -> None:
    made = await sandbox.subscribe(TARGET, lines=[LINE])
    await sandbox.client.webhook_subscriptions.update(made.id, is_active=False)
    await sandbox.client.webhook_subscriptions.update(made.id, is_active=True)
    before = (await sandbox.client.webhook_subscriptions.retrieve(made.id)).updated_at
    await sandbox.fault("disable", line=LINE)
    _created, by_api, _enabled, by_linq = await received_events(sandbox, endpoint)
    assert (by_api[0], by_api[1]["origin"]) == (by_linq[0], "api") == ("disabled", "api")
    assert (by_linq[1]["origin"], by_linq[1]["webhook_subscription"]["target_url"]) == ("linq", TARGET)
    assert (await sandbox.client.webhook_subscriptions.retrieve(made.id)).updated_at > before
    await sandbox.client.webhook_subscriptions.delete(listener)
    assert await received_events(sandbox, endpoint) == []  # there is no subscription left


@pytest.mark.usefixtures("listener")
async def test_forwarding_change_is_an_account_event(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    url = f"{sandbox.url}/v3/phone_numbers/{line_id(LINE)}"
    for number in ("+12125550142", "+12125550142", None):
        async with sandbox.http.put(url, data=json.dumps({"forwarding_number": number})) as response:
            assert response.status == 200
    assert [(data["phone_number"], data["change"]) for _, data in await received_events(sandbox, endpoint)] == [
        (LINE, {"from": None, "to": "+12125550142"}),
        (LINE, {"from": "+12125550142", "to": None}),
    ]
