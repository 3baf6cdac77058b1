"""What `/sandbox/emit` takes and refuses, and playing the events of a conversation."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from relay.sandbox.app import Emission
from relay.sandbox.events.conversations import Beat
from relay.sandbox.payloads import NEW, OLD, Scene, known_types
from tests.sandbox.running import LINE, LINES, OTHER_LINE, Endpoint, RunningSandbox


async def test_a_type_is_enough_to_emit_an_event(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    answer = await sandbox.emit("message.received")
    await sandbox.settled()
    (received,) = endpoint.received
    assert answer == {"event_id": received.json["event_id"], "event_ids": [answer["event_id"]], "subscriptions": 1}
    assert received.json["event_type"] == "message.received"
    assert received.json["data"]["chat"]["owner_handle"]["handle"] == LINES[0]
    uuid.UUID(answer["event_id"])


async def test_an_event_is_about_the_line_that_is_named(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.emit(line=OTHER_LINE)
    await sandbox.settled()
    assert endpoint.received[0].json["data"]["chat"]["owner_handle"]["handle"] == OTHER_LINE


async def test_an_event_that_nobody_wants_is_emitted_to_nobody(sandbox: RunningSandbox) -> None:
    assert (await sandbox.emit("reaction.added"))["subscriptions"] == 0
    assert sandbox.log == []


async def test_an_event_id_can_be_chosen_so_that_events_repeat(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    for _ in range(2):
        assert (await sandbox.emit(event_id="twice"))["event_id"] == "twice"
    await sandbox.settled()
    assert [one.json["event_id"] for one in endpoint.received] == ["twice", "twice"]
    assert {one.headers["webhook-id"] for one in endpoint.received} == {"twice"}


async def test_data_can_be_given_for_types_without_a_payload_of_the_sandboxs_own(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    await sandbox.subscribe(endpoint.url, "call.ended")
    data = {"to": LINE, "anything": [1, None, "é"]}
    await sandbox.emit("call.ended", line=LINE, data=data)
    await sandbox.settled()
    (received,) = endpoint.received
    assert received.json["data"] == data
    assert received.json["webhook_version"] == NEW


async def test_a_whole_body_is_sent_as_it_is(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    body = '{ "event_id" : "é",\n not even JSON'
    await sandbox.emit(body=body)
    await sandbox.settled()
    assert [one.body for one in endpoint.received] == [body.encode()]


@pytest.mark.parametrize("version", [OLD, NEW, "2027-01-01"])
async def test_a_version_can_be_forced_on_every_subscription(
    sandbox: RunningSandbox, endpoint: Endpoint, version: str
) -> None:
    await sandbox.subscribe(f"{endpoint.url}/a?version={OLD}")
    await sandbox.subscribe(f"{endpoint.url}/b?version={NEW}")
    await sandbox.emit(version=version)
    await sandbox.settled()
    assert [one.json["webhook_version"] for one in endpoint.received] == [version, version]


async def test_every_subscription_of_an_event_gets_the_same_event_in_its_own_version(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    await sandbox.subscribe(f"{endpoint.url}/a?version={OLD}")
    await sandbox.subscribe(f"{endpoint.url}/b?version={NEW}")
    await sandbox.emit()
    await sandbox.settled()
    old, new = sorted((one.json for one in endpoint.received), key=lambda body: str(body["webhook_version"]))
    same = ("event_id", "event_type", "created_at", "trace_id", "partner_id", "api_version")
    assert {name: old[name] for name in same} == {name: new[name] for name in same}
    assert old["data"]["chat_id"] == new["data"]["chat"]["id"]


@pytest.mark.parametrize("event_type", known_types())
async def test_every_known_type_can_be_emitted(sandbox: RunningSandbox, endpoint: Endpoint, event_type: str) -> None:
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
async def test_an_emission_that_makes_no_sense_is_400(
    sandbox: RunningSandbox, endpoint: Endpoint, sent: Any, code: int
) -> None:
    await sandbox.subscribe(endpoint.url, "message.sent", "call.ended")
    async with sandbox.http.post(f"{sandbox.url}/sandbox/emit", **sent) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == code
    assert sandbox.log == []


async def test_a_type_without_payload_is_refused_with_the_types_that_have_one(sandbox: RunningSandbox) -> None:
    async with sandbox.http.post(f"{sandbox.url}/sandbox/emit", json={"type": "brand.new"}) as answer:
        message = (await answer.json())["error"]["message"]
    assert 'give "data" for brand.new' in message
    assert all(event_type in message for event_type in known_types())


async def test_a_beat_of_a_conversation_is_sent_like_any_event(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    scene = Scene(line=OTHER_LINE, chat_id="chat-7", text="Hello")
    await sandbox.subscribe(f"{endpoint.url}/?version={OLD}", lines=[OTHER_LINE])
    event_id, wanted_by = sandbox.sandbox.play(Beat("message.received", scene))
    await sandbox.settled()
    assert wanted_by == 1
    (received,) = endpoint.received
    assert received.json["event_id"] == event_id
    assert received.json["data"]["chat_id"] == "chat-7"
    assert received.json["data"]["message"]["parts"] == [{"type": "text", "value": "Hello"}]


async def test_an_unknown_type_without_data_raises_where_it_is_emitted(sandbox: RunningSandbox) -> None:
    with pytest.raises(KeyError):
        sandbox.sandbox.emit(Emission(type="brand.new"))
