"""Chats and messages by REST, read with the official SDK: pages, states, filters, and messages without webhooks."""

from __future__ import annotations

from typing import Any

import linq
import pytest
from linq.types import Chat, Message

from relay.sandbox.history import History
from relay.sandbox.payloads import Scenario
from tests.sandbox.running import LINE, LINES, OTHER_LINE, Endpoint, RunningSandbox

CUSTOMER = "+13035550177"


async def outage(sandbox: RunningSandbox, **request: Any) -> Any:
    async with sandbox.http.post(f"{sandbox.url}/sandbox/outage", json=request) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_messages_of_an_outage_come_back_in_pages(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url, "message.received", "message.sent")
    assert await outage(sandbox, messages=150, chats=7, seconds=600) == {"messages": 150, "kept": 150}
    found = {}
    for line in LINES:
        async for chat in sandbox.client.chats.list_chats(from_=line, limit=2):
            Chat.model_validate(chat.to_dict())
            assert next(handle.handle for handle in chat.handles if handle.is_me) == line
            times = []
            async for message in sandbox.client.chats.messages.list(chat.id, limit=5):
                Message.model_validate(message.to_dict())
                assert message.sent_at is not None
                times.append(message.sent_at)
                found[message.id] = chat.id
                assert message.delivery_status == ("sent" if message.is_from_me else "received")
            assert times == sorted(times, reverse=True)
    assert len(found) == 150
    assert len(set(found.values())) == 7
    one = await sandbox.client.messages.retrieve(next(iter(found)))
    assert (await sandbox.client.chats.retrieve(one.chat_id)).id == found[one.id]
    assert not sandbox.log


async def test_events_of_a_message_change_it(sandbox: RunningSandbox) -> None:
    about: dict[str, Any] = {"line": LINE, "customer": CUSTOMER, "chat_id": "c1", "message_id": "m1"}
    for event, status in (("sent", "sent"), ("delivered", "delivered"), ("read", "read")):
        await sandbox.emit(f"message.{event}", **about)
        message = await sandbox.client.messages.retrieve("m1")
        assert (message.delivery_status, message.is_from_me) == (status, True)
    await sandbox.emit("message.edited", **about, ours=True, text="Changed")
    late = {"message_id": "m2", "reconciled_at": "2026-01-01T00:00:00Z", "occurred_at": "2025-12-31T23:00:00Z"}
    await sandbox.emit("message.received", **{**about, **late})
    await sandbox.emit("message.failed", **{**about, "message_id": "m3"})
    page = await sandbox.client.chats.messages.list("c1")
    assert page.next_cursor is None
    assert [message.delivery_status for message in page.messages] == ["failed", "received", "read"]
    assert [message.reconciled_at is not None for message in page.messages] == [False, True, False]
    assert page.messages[2].parts is not None
    assert [part.to_dict()["value"] for part in page.messages[2].parts] == ["Changed"]
    own = (await sandbox.client.chats.list_chats(to=CUSTOMER)).chats
    assert [chat.id for chat in own] == ["c1"]
    assert not (await sandbox.client.chats.list_chats(to=CUSTOMER, from_=OTHER_LINE)).chats


async def test_verbatim_events_are_messages_too(sandbox: RunningSandbox) -> None:
    await sandbox.emit("message.received", chat_id="c", message_id="m", text="Hello", silent=True)
    first = await sandbox.get("/v3/messages/m")
    data = {
        "id": "m2",
        "chat": {"id": "c", "owner_handle": {"handle": LINE}},
        "direction": "inbound",
        "sender_handle": {"handle": CUSTOMER},
        "parts": [{"type": "text", "value": "Again"}],
        "sent_at": first["sent_at"],
        "service": "SMS",
    }
    await sandbox.emit("message.received", data=data)
    await sandbox.emit("message.received", body='{"data": 1}')
    assert [each.id for each in (await sandbox.client.chats.messages.list("c")).messages] == ["m2", "m"]


async def test_lost_and_silent_events_are_not_sent(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    await sandbox.fault("lost", count=1)
    assert (await sandbox.emit(message_id="lost"))["subscriptions"] == 0
    assert (await sandbox.emit(message_id="silent", silent=True))["subscriptions"] == 0
    assert (await sandbox.emit(message_id="sent"))["subscriptions"] == 1
    for message_id in ("lost", "silent", "sent"):
        assert (await sandbox.client.messages.retrieve(message_id)).id == message_id
    assert len(await sandbox.settled()) == 1


async def test_unknown_ids_and_foreign_lines_are_refused(sandbox: RunningSandbox) -> None:
    client = sandbox.client
    for call, code in (
        (client.chats.retrieve("none"), 2001),
        (client.chats.messages.list("none"), 2001),
        (client.messages.retrieve("none"), 2002),
    ):
        with pytest.raises(linq.NotFoundError) as refused:
            await call
        assert refused.value.code == code
    with pytest.raises(linq.PermissionDeniedError):
        await client.chats.list_chats(from_="+19995550100")
    for wrong in ({"limit": 101}, {"cursor": "x"}, {"from_": "5550123"}):
        with pytest.raises(linq.BadRequestError):
            await client.chats.list_chats(**wrong)


async def test_chats_of_a_removed_line_are_gone(sandbox: RunningSandbox) -> None:
    await sandbox.emit(line=OTHER_LINE, chat_id="c", message_id="m")
    async with sandbox.http.delete(f"{sandbox.url}/sandbox/lines/{OTHER_LINE}") as response:
        assert response.status == 200
    assert not (await sandbox.client.chats.list_chats()).chats
    with pytest.raises(linq.NotFoundError):
        await sandbox.client.messages.retrieve("m")


def test_history_forgets_the_oldest() -> None:
    history = History(most=3)
    for number in range(5):
        history.record("message.received", Scenario(line=LINE, chat_id=f"c{number // 2}", message_id=f"m{number}"))
    assert history.messages == 3
    assert sorted(chat.id for chat in history.chats(LINES, None)) == ["c1", "c2"]
    assert history.message("m1") is None
