"""Walks: what is missing is found, under short and failing answers of Linq, and put back exactly once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from linq.types import MessageReceivedWebhookEvent, MessageSentWebhookEvent
from pydantic_core import from_json

from relay.core.errors import LinqApiError
from relay.core.event import Dialect, VerifiedWebhook
from relay.gaps.run import Asked, NothingToCompare
from relay.linq.api.history import LinqHistory, Page
from relay.store.driver.client import ask
from relay.store.gaps.message_index import MessageIndex, ReadTo
from relay.store.gaps.walk_record import Mode, WalkState
from tests.gaps.stage import HOUR_MS, messages_in, stage_of, webhook_of
from tests.sandbox.running import LINE, LINES
from tests.support import KEYS
from tests.workers.conftest import accept

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from relay.store.gaps.walk_record import Walk
    from tests.gaps.stage import Stage
    from tests.sandbox.running import RunningSandbox

MODELS: dict[str, Any] = {"message.received": MessageReceivedWebhookEvent, "message.sent": MessageSentWebhookEvent}


async def test_look_counts_missing_messages(stage: Stage) -> None:
    made = stage.outage(messages=300, chats=7)
    await stage.accept(*made[::3])
    await stage.routed()
    walk = await stage.walk(Mode.LOOK)
    assert (walk.state, walk.messages, walk.missing, walk.put) == (WalkState.DONE, 300, 200, 0)
    assert sorted(walk.findings) == sorted(LINES)
    assert walk.chats == 7
    assert await stage.redis.xlen(KEYS.inbox) == 0


async def test_missing_messages_come_back_once_as_history(stage: Stage) -> None:
    made = stage.outage()
    await stage.accept(*made[:10])
    await stage.routed()
    walk = await stage.walk()
    assert (walk.missing, walk.put, walk.untaken) == (20, 20, 0)
    entries = await stage.routed()
    assert messages_in(entries) == sorted(scenario.message_id for _, scenario in made)
    for entry in entries[10:]:
        event = MODELS[entry["type"]].model_validate(from_json(entry["body"]))
        assert (event.data.id, event.data.chat.id, event.event_id) == (entry["message"], entry["chat"], entry["id"])
        assert event.data.chat.owner_handle.handle == entry["line"]
        assert event.data.reconciled_at is not None
        assert (entry["source"], entry["freshness"], "via" in entry) == ("backfill", "history", False)
    assert [entry.get("source") for entry in entries[:10]] == [None] * 10
    assert len(await stage.routed("live")) == 10
    again = await stage.walk()
    assert (again.missing, again.put) == (0, 0)


async def test_content_is_that_of_linqs_event(stage: Stage) -> None:
    made = {scenario.message_id: (kind, scenario) for kind, scenario in stage.outage()}
    await stage.walk()
    ignored = dict.fromkeys(("reconciled_at", "chat", "sender_handle"))
    for entry in await stage.routed():
        theirs = from_json(webhook_of(*made[entry["message"]]).body)["data"]
        ours = from_json(entry["body"])["data"]
        parts = [{name: value for name, value in part.items() if value is not None} for part in ours["parts"]]
        assert {**ours, "parts": parts, **ignored} == {**theirs, **ignored}
        assert ours["sender_handle"]["handle"] == theirs["sender_handle"]["handle"]


@pytest.mark.parametrize("reconciled", [False, True])
async def test_linqs_late_event_after_a_backfill(stage: Stage, *, reconciled: bool) -> None:
    made = stage.outage(messages=6, chats=2)
    await stage.walk()
    await stage.routed()
    await stage.accept(*made, reconciled=reconciled)
    entries = await stage.routed()
    assert messages_in(entries) == sorted(scenario.message_id for _, scenario in made)
    assert {entry["source"] for entry in entries} == {"backfill"}
    assert len(await stage.routed("live")) == (0 if reconciled else 6), "a topic without history gets the live event"
    repeats: Any = await ask(stage.redis.hget(KEYS.counts, "backfill_repeats"))
    assert repeats == b"6"


async def test_linqs_event_in_the_inbox_comes_first(stage: Stage) -> None:
    made = stage.outage(messages=6, chats=2)
    await stage.accept(*made[:3])
    assert (await stage.walk()).put == 6
    await stage.accept(*made[3:])
    entries = await stage.routed()
    assert messages_in(entries) == sorted(scenario.message_id for _, scenario in made)
    assert sorted(entry.get("source", "") for entry in entries) == ["", "", "", *["backfill"] * 3]


async def test_an_event_routed_after_the_index_was_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage.outage(messages=6, chats=1)
    read = MessageIndex.read

    async def read_and_route(index: MessageIndex, since_ms: int, now_ms: int) -> list[ReadTo]:
        result = await read(index, since_ms, now_ms)
        await stage.accept(*made)
        await stage.routed()
        return result

    monkeypatch.setattr(MessageIndex, "read", read_and_route)
    walk = await stage.walk()
    assert (walk.missing, walk.put, walk.meanwhile) == (6, 0, 6)
    assert len(await stage.routed()) == 6


@pytest.mark.parametrize("faults", [
    [{"kind": "api_answer", "answer": "short", "path": "/v3/chats", "share": 0.3}],
    [{"kind": "api_answer", "answer": "empty", "path": "/v3/chats?", "count": 3}],
    [{"kind": "api_answer", "answer": "malformed", "path": "/v3/chats", "count": 2}],
    [{"kind": "api_answer", "answer": "html", "path": "/v3/chats", "count": 2}],
    [{"kind": "api_error", "status": 503, "path": "/v3/chats", "count": 2}],
    [{"kind": "api_error", "status": 429, "retry_after": 0, "path": "/v3/chats", "share": 0.3}],
])  # fmt: skip
async def test_wrong_answers_of_linq_hide_nothing(stage: Stage, faults: list[dict[str, Any]]) -> None:
    made = stage.outage(messages=60, chats=12)
    for fault in faults:
        await stage.sandbox.fault(**fault)
    await stage.walk()
    if faults[0].get("share") and faults[0]["kind"] == "api_answer":
        await stage.sandbox.clear_faults()
        await stage.walk()
    assert messages_in(await stage.routed()) == sorted(scenario.message_id for _, scenario in made)


async def test_a_walk_that_fails_is_resumed(stage: Stage) -> None:
    made = stage.outage(messages=400, chats=200)
    finder, now_ms = stage.finder, round(time.time() * 1000)
    asked = Asked(Mode.FILL, now_ms - HOUR_MS, now_ms)
    walk = await finder.new(asked)

    def fail_midway(walk: Walk) -> None:
        if walk.chats >= 100:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await finder.run(walk, fail_midway)
    calls = len(stage.sandbox.calls)
    found = await finder.unfinished(Asked(Mode.FILL))
    assert found is not None
    read = found.chats
    assert (found.id, found.chats, found.put) == (walk.id, walk.chats, 2 * walk.chats)
    done = await finder.run(found, resume=True)
    assert (done.chats, done.missing, done.put) == (200, 400, 400)
    assert len([call for call in stage.sandbox.calls[calls:] if call.endswith("/messages")]) == 200 - read
    assert messages_in(await stage.routed()) == sorted(scenario.message_id for _, scenario in made)
    assert await finder.unfinished(Asked(Mode.FILL)) is None


async def test_a_page_that_cannot_be_read_ends_the_walk(stage: Stage) -> None:
    stage.outage(messages=5, chats=2)
    await stage.sandbox.fault("api_answer", answer="keyless", path="/v3/chats")
    with pytest.raises(LinqApiError, match="listing the chats"):
        await stage.walk()
    walk = await stage.finder.unfinished(Asked(Mode.FILL))
    assert walk is not None
    assert (walk.state, bool(walk.error)) == (WalkState.FAILED, True)


async def test_messages_before_the_index_are_not_judged(stage: Stage, redis: Redis) -> None:
    stage.outage(messages=40, chats=2, seconds=1800)
    await ask(redis.hset(KEYS.gaps, "began", str(round(time.time() * 1000) - 900_000)))
    walk = await stage.walk(Mode.LOOK)
    assert walk.asked_since_ms is not None
    assert 18 <= walk.missing <= 20
    await redis.delete(KEYS.gaps)
    with pytest.raises(NothingToCompare, match="start a worker"):
        await stage.walk()


async def test_only_the_lines_that_are_asked_for(stage: Stage) -> None:
    made = stage.outage(messages=30, chats=3)
    walk = await stage.walk(lines=(LINE,))
    assert walk.lines == [LINE]
    assert walk.put == len([scenario for _, scenario in made if scenario.line == LINE])
    with pytest.raises(NothingToCompare, match="is not a line of this account"):
        await stage.walk(lines=("+19995550100",))


async def test_message_that_no_topic_takes_is_left(redis: Redis, sandbox: RunningSandbox, tmp_path: Path) -> None:
    rules = '[[topics]]\nname = "all"\nevents = ["message.received"]\nfreshness = "live"\n'
    async with stage_of(redis, sandbox, tmp_path, rules) as stage:
        made = stage.outage(messages=20, chats=2)
        walk = await stage.walk()
    received = [kind for kind, _ in made if kind == "message.received"]
    assert (walk.messages, walk.missing, walk.untaken, walk.put) == (len(received),) * 3 + (0,)


async def test_messages_of_every_state(stage: Stage) -> None:
    about = {"line": LINE, "chat_id": "c", "silent": True}
    for number, kind in enumerate(("received", "sent", "delivered", "read", "failed")):
        await stage.sandbox.emit(f"message.{kind}", **about, message_id=f"m{number}")
    await stage.walk()
    entries = await stage.routed()
    assert [(entry["message"], entry["type"]) for entry in sorted(entries, key=lambda each: each["message"])] == [
        ("m0", "message.received"),
        *[(f"m{number}", "message.sent") for number in (1, 2, 3)],
    ]


async def test_two_backfills_at_once_put_back_once(stage: Stage) -> None:
    made = stage.outage(messages=60, chats=6)
    results = await asyncio.gather(stage.walk(), stage.walk(), return_exceptions=True)
    assert any(not isinstance(result, BaseException) for result in results)
    assert messages_in(await stage.routed()) == sorted(scenario.message_id for _, scenario in made)


async def test_another_line_cannot_hide_or_take_a_message(stage: Stage) -> None:
    made = stage.outage(messages=6, chats=2)
    forger = next(line for line in LINES if all(scenario.line != line for _, scenario in made[:1]))
    kind, scenario = made[0]
    body = webhook_of(kind, scenario).body
    await accept(stage.redis, VerifiedWebhook("forged-1", kind, Dialect.V3, "forged-1", forger, body))
    await stage.routed()
    walk = await stage.walk()
    assert (walk.missing, walk.put) == (6, 6)
    await accept(stage.redis, VerifiedWebhook("forged-2", kind, Dialect.V3, "forged-2", forger, body))
    entries = await stage.routed()
    own = [(entry["message"], entry["line"]) for entry in entries if entry.get("source") == "backfill"]
    assert sorted(own) == sorted((scenario.message_id, scenario.line) for _, scenario in made)


async def test_chats_of_other_lines_are_left_out(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage.outage(messages=12, chats=4)
    listed = LinqHistory.chats

    async def every_chat(self: LinqHistory, _: str, cursor: str | None = None) -> Page:
        pages = [await listed(self, each, None) for each in LINES]
        return Page([row for page in pages for row in page.rows], None) if cursor is None else pages[0]

    monkeypatch.setattr(LinqHistory, "chats", every_chat)
    walk = await stage.walk()
    assert walk.put == 12
    found = [(entry["message"], entry["line"]) for entry in await stage.routed()]
    assert sorted(found) == sorted((scenario.message_id, scenario.line) for _, scenario in made)


HOSTILE: tuple[Any, ...] = (0, 1.5, True, [], {}, [1], "\ud83d", 10**400, [{"handle": []}], {"handle": "\ud800"})


async def test_an_odd_message_does_not_stop_the_others(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage.outage(messages=30, chats=2)
    listed = LinqHistory.messages
    fields = ("parts", "delivery_status", "sent_at", "service", "from_handle", "from", "effect", "reply_to")
    odd = [{name: value} for name in fields for value in HOSTILE]
    odd += [{"from_handle": None, "from": "\ud83d"}, {"parts": [{"type": "text", "value": "cut in two: \ud83d"}]}]

    async def messages(self: LinqHistory, chat_id: str, cursor: str | None = None) -> Page | None:
        page = await listed(self, chat_id, cursor)
        if page is None or cursor is not None or not page.rows:
            return page
        copies = [{**page.rows[0], "id": f"odd-{number}", **each} for number, each in enumerate(odd)]
        return Page([*copies, *page.rows], page.cursor)

    monkeypatch.setattr(LinqHistory, "messages", messages)
    walk = await stage.walk()
    assert walk.state is WalkState.DONE
    assert walk.unreadable == 2  # in either chat the sender that is no text
    got = {entry["message"]: entry for entry in await stage.routed()}
    assert {scenario.message_id for _, scenario in made} <= got.keys()
    assert "\\ud83d" in got[f"odd-{len(odd) - 1}"]["body"]
