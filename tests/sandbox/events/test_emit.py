"""Fields of events that can be chosen in `POST /sandbox/emit`."""

from __future__ import annotations

from typing import Any

import pytest

from relay.sandbox.payloads import NEW, OLD
from tests.sandbox.running import LINE, Endpoint, RunningSandbox


async def test_scenario_fields_can_be_chosen(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    chosen: Any = {"chat_id": "chat-7", "message_id": "message-7", "text": "Hello", "service": "RCS", "is_group": True}
    await sandbox.emit(**chosen, customer="+13035550100")
    await sandbox.settled()
    data = endpoint.received[0].json["data"]
    assert (data["chat"]["id"], data["chat"]["is_group"]) == ("chat-7", True)
    assert (data["id"], data["service"], data["parts"][0]["value"]) == ("message-7", "RCS", "Hello")
    assert data["sender_handle"]["handle"] == "+13035550100"


@pytest.mark.parametrize(
    ("event_type", "chosen", "place", "value"),
    [
        ("call.initiated", {"ours": True}, ("direction",), "outbound"),
        ("poll.received", {"options": ["a", "b", "c"]}, ("poll", "options", 2, "text"), "c"),
        ("message.failed", {"code": 4006}, ("code",), 4006),
        ("phone_number.status_updated", {"flagged": False}, ("new_status",), "ACTIVE"),
        (
            "chat.created",
            {"is_group": True, "others": ["ana@example.net"]},
            ("handles", 2, "handle"),
            "ana@example.net",
        ),
    ],
)
async def test_fields_of_specific_types_can_be_chosen(
    sandbox: RunningSandbox,
    endpoint: Endpoint,
    event_type: str,
    chosen: dict[str, Any],
    place: tuple[str | int, ...],
    value: Any,
) -> None:
    await sandbox.subscribe(endpoint.url, event_type)
    await sandbox.emit(event_type, **chosen)
    await sandbox.settled()
    found = endpoint.received[0].json["data"]
    for step in place:
        found = found[step]
    assert found == value


async def test_several_events_can_be_sent_at_once(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    response = await sandbox.emit(count=20)
    assert (len(response["event_ids"]), response["subscriptions"]) == (20, 1)
    assert response["event_id"] == response["event_ids"][0]
    await sandbox.settled()
    assert {request.json["event_id"] for request in endpoint.received} == set(response["event_ids"])


@pytest.mark.parametrize(
    ("event_type", "version", "is_marked"),
    [("message.received", NEW, True), ("message.received", OLD, False), ("message.failed", NEW, False)],
)
async def test_reconciled_at_is_set_on_messages_only(
    sandbox: RunningSandbox, endpoint: Endpoint, event_type: str, version: str, *, is_marked: bool
) -> None:
    await sandbox.subscribe(f"{endpoint.url}/?version={version}", event_type)
    await sandbox.emit(event_type, reconciled_at="2026-09-14T09:15:02Z")
    await sandbox.settled()
    marked = endpoint.received[0].json["data"].get("reconciled_at")
    assert marked == ("2026-09-14T09:15:02.000Z" if is_marked else None)


async def test_default_line_is_the_first(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url, lines=[LINE])
    assert (await sandbox.emit())["subscriptions"] == 1
    assert (await sandbox.emit("team_member.added"))["subscriptions"] == 0


async def test_events_of_a_message_share_a_trace_id(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    types = ["message.sent", "message.read", "reaction.added"]
    await sandbox.subscribe(endpoint.url, *types)
    for event_type in types:
        await sandbox.emit(event_type, message_id="m-1")
    await sandbox.emit("message.sent", message_id="m-2")
    await sandbox.settled()
    sent, read, reaction, other = [request.json["trace_id"] for request in endpoint.received]
    assert sent == read
    assert len({sent, reaction, other}) == 3


async def test_v2_event_is_sent_to_v2_subscriptions_only(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(f"{endpoint.url}/v3")
    sandbox.subscribe_v2(f"{endpoint.url}/v2")
    response = await sandbox.emit(api="v2", line=LINE, event_id="wh_evt_1")
    assert (response["event_id"], response["subscriptions"]) == ("wh_evt_1", 1)
    await sandbox.settled()
    (received,) = endpoint.received
    assert (received.path, received.json["event_id"], received.json["api_version"]) == ("/v2", "wh_evt_1", "v2")


async def test_verbatim_body_is_sent_to_its_api_only(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(f"{endpoint.url}/v3", "message.received")
    sandbox.subscribe_v2(f"{endpoint.url}/v2", "message.received", "anything.new")
    await sandbox.emit(body="for v3")
    await sandbox.emit("anything.new", api="v2", body="for v2")
    await sandbox.settled()
    assert {(request.path, request.body) for request in endpoint.received} == {("/v3", b"for v3"), ("/v2", b"for v2")}


async def test_custom_data_is_sent_to_v3_only(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    sandbox.subscribe_v2(endpoint.url)
    assert (await sandbox.emit(data={"id": "1"}))["subscriptions"] == 0


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"api": "v2", "data": {}}, '"body"'),
        ({"api": "v2", "type": "message.teleported"}, 'no built-in payload for message.teleported; add "body"'),
        ({"api": "v4"}, "api"),
        ({"line": "16465550123"}, "line"),
        ({"service": "fax"}, "service"),
        ({"count": 0}, "count"),
        ({"type": "message.failed", "code": 1}, "not an error code of Linq; use one of 3007"),
        ({"type": "poll.sent", "options": []}, "options"),
        ({"reconciled_at": "2026-09-14T09:15:02"}, "reconciled_at"),
        ({"colour": "red"}, "colour"),
        ({"line": "+12125550100"}, "+12125550100 is not a line of this sandbox; its lines: +1646"),
        ({"data": {}, "body": ""}, 'give "data" or "body"'),
        ({"event_id": "e-1", "count": 2}, '"event_id" is for a single event'),
        ({"event_id": "two\nlines"}, "event_id"),
        ({"version": "newest"}, "version"),
    ],
)
async def test_invalid_field_is_400_with_its_name(sandbox: RunningSandbox, wrong: Any, text: str) -> None:
    async with sandbox.http.post(f"{sandbox.url}/sandbox/emit", json={"type": "message.received", **wrong}) as response:
        assert response.status == 400
        assert text in (await response.json())["error"]["message"]
    assert sandbox.log == []
