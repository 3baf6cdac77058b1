"""`POST /sandbox/emit`, and sending the events of a conversation."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from relay.sandbox.app import Emission
from relay.sandbox.events.conversations import ConversationStep
from relay.sandbox.payloads import NEW, OLD, Scenario, known_types
from tests.sandbox.running import LINE, LINES, OTHER_LINE, Endpoint, RunningSandbox


async def test_event_type_alone_is_enough(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    response = await sandbox.emit("message.received")
    await sandbox.settled()
    (received,) = endpoint.received
    assert response == {"event_id": received.json["event_id"], "event_ids": [response["event_id"]], "subscriptions": 1}
    assert received.json["event_type"] == "message.received"
    assert received.json["data"]["chat"]["owner_handle"]["handle"] == LINES[0]
    uuid.UUID(response["event_id"])


async def test_event_is_of_the_given_line(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=OTHER_LINE)
    await sandbox.settled()
    assert endpoint.received[0].json["data"]["chat"]["owner_handle"]["handle"] == OTHER_LINE


async def test_event_without_subscription_is_sent_nowhere(sandbox: RunningSandbox) -> None:
    assert (await sandbox.emit("reaction.added"))["subscriptions"] == 0
    assert sandbox.log == []


async def test_event_id_can_be_repeated(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    for _ in range(2):
        assert (await sandbox.emit(event_id="twice"))["event_id"] == "twice"
    await sandbox.settled()
    assert [request.json["event_id"] for request in endpoint.received] == ["twice", "twice"]
    assert {request.headers["webhook-id"] for request in endpoint.received} == {"twice"}


async def test_unknown_type_can_be_sent_with_custom_data(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url, "call.ended")
    data = {"to": LINE, "anything": [1, None, "é"]}
    await sandbox.emit("call.ended", line=LINE, data=data)
    await sandbox.settled()
    (received,) = endpoint.received
    assert received.json["data"] == data
    assert received.json["webhook_version"] == NEW


async def test_verbatim_body_is_sent_unchanged(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    body = '{ "event_id" : "é",\n not even JSON'
    await sandbox.emit(body=body)
    await sandbox.settled()
    assert [request.body for request in endpoint.received] == [body.encode()]


@pytest.mark.parametrize("version", [OLD, NEW, "2027-01-01"])
async def test_version_can_be_forced_for_all_subscriptions(
    sandbox: RunningSandbox, endpoint: Endpoint, version: str
) -> None:
    await sandbox.subscribe(f"{endpoint.url}/a?version={OLD}")
    await sandbox.subscribe(f"{endpoint.url}/b?version={NEW}")
    await sandbox.emit(version=version)
    await sandbox.settled()
    assert [request.json["webhook_version"] for request in endpoint.received] == [version, version]


async def test_each_subscription_gets_the_event_in_its_version(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(f"{endpoint.url}/a?version={OLD}")
    await sandbox.subscribe(f"{endpoint.url}/b?version={NEW}")
    await sandbox.emit()
    await sandbox.settled()
    old, new = sorted((request.json for request in endpoint.received), key=lambda body: str(body["webhook_version"]))
    same = ("event_id", "event_type", "created_at", "trace_id", "partner_id", "api_version")
    assert {name: old[name] for name in same} == {name: new[name] for name in same}
    assert old["data"]["chat_id"] == new["data"]["chat"]["id"]


@pytest.mark.parametrize("event_type", known_types())
async def test_every_known_type_can_be_sent(sandbox: RunningSandbox, endpoint: Endpoint, event_type: str) -> None:
    await sandbox.subscribe(endpoint.url, event_type)
    assert (await sandbox.emit(event_type, line=LINE))["subscriptions"] == 1
    *of_itself, delivery = await sandbox.settled()
    assert (delivery.state, delivery.event_type) == ("delivered", event_type)
    assert len(of_itself) == (event_type == "webhook_subscription.created")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"data": b"{"}, 1003),
        ({"data": b""}, 1003),
        ({"json": ["message.sent"]}, 1003),
        ({"json": {}}, 1003),
        ({"json": {"type": 5}}, 1003),
        ({"json": {"type": "message.sent", "lines": [LINE]}}, 1003),
        ({"json": {"type": "message.sent", "data": "text"}}, 1003),
        ({"json": {"type": "brand.new"}}, 1005),
        ({"json": {"type": ""}}, 1003),
    ],
)
async def test_invalid_emission_is_400(sandbox: RunningSandbox, endpoint: Endpoint, sent: Any, code: int) -> None:
    await sandbox.subscribe(endpoint.url, "message.sent", "call.ended")
    async with sandbox.http.post(f"{sandbox.url}/sandbox/emit", **sent) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == code
    assert sandbox.log == []


async def test_type_without_payload_is_400_with_known_types(sandbox: RunningSandbox) -> None:
    async with sandbox.http.post(f"{sandbox.url}/sandbox/emit", json={"type": "brand.new"}) as response:
        message = (await response.json())["error"]["message"]
    assert 'no built-in payload for brand.new; add "data"' in message
    assert all(event_type in message for event_type in known_types())


async def test_conversation_step_is_sent_like_any_event(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    scenario = Scenario(line=OTHER_LINE, chat_id="chat-7", text="Hello")
    await sandbox.subscribe(f"{endpoint.url}/?version={OLD}", lines=[OTHER_LINE])
    event_id, matches = sandbox.sandbox.play(ConversationStep("message.received", scenario))
    await sandbox.settled()
    assert matches == 1
    (received,) = endpoint.received
    assert received.json["event_id"] == event_id
    assert received.json["data"]["chat_id"] == "chat-7"
    assert received.json["data"]["message"]["parts"] == [{"type": "text", "value": "Hello"}]


async def test_emitting_unknown_type_without_data_raises(sandbox: RunningSandbox) -> None:
    with pytest.raises(KeyError):
        sandbox.sandbox.emit(Emission(type="brand.new"))
