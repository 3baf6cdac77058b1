"""The story of an event: of a journey with a dead letter and a replay, and of what is trimmed or not to be seen."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiohttp import web

from relay.config.file import ConfigFile
from relay.core.delivery.outcome import Outcome
from relay.core.errors import NotFound
from relay.services.topics.history.find import NotFoundYet
from relay.services.topics.history.pull import PullPart, PullState
from relay.services.topics.history.push import PushState, Range
from relay.services.topics.history.story import story
from relay.services.topics.history.view import Place
from relay.store.inbox.acceptor import Acceptor
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.topics import stream_search
from relay.store.topics.record import Proof
from tests.building import LINE, SECRET, TWO_TOPICS, body_of, webhook_of
from tests.services.topics.history.conftest import OPERATOR, TEAM, hiding, put
from tests.support import KEYS, eventually
from tests.workers.conftest import emptied, open_sink, routing, rules_for
from tests.workers.delivering import delivering, now_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.core.event import VerifiedWebhook
    from relay.services.context import Context
    from relay.services.topics.history.push import PushPart
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def accept(context: Context, *webhooks: VerifiedWebhook) -> None:
    async with Acceptor(context.redis, context.settings.relay_dedupe_window, time.time) as acceptor:
        for webhook in webhooks:
            await acceptor.accept(webhook._replace(generation=2, remote="203.0.113.7"))


@asynccontextmanager
async def journey(retry: str = '["50ms"]', bot: str = "") -> AsyncIterator[tuple[Sink, ConfigFile]]:
    """Yield a sink, and the rules of the context, by which it gets events."""
    path = Path("relay.toml")
    async with open_sink() as sink:
        path.write_text(rules_for(sink, retry=retry, bot=bot))
        async with ConfigFile(path) as rules:
            yield sink, rules


async def route(redis: Redis, rules: ConfigFile) -> None:
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))


def told(part: PushPart) -> tuple[Any, ...]:
    attempts = [
        (found.attempt.number, found.attempt.is_replay, found.attempt.outcome, found.attempt.status, found.detail)
        for found in part.attempts
    ]
    return part.subscription, part.state, part.replayed, attempts


async def test_story_of_a_failure_a_dead_letter_and_its_replay(redis: Redis, context: Context) -> None:
    works = False

    async def answer(received: Received) -> web.Response:
        return web.Response() if works or received.path == "/crm" else web.Response(status=500, text="no room")

    first, event, last = (webhook_of(event_id=str(uuid4())) for _ in range(3))
    failed = [(n, False, Outcome.FAILED, 500, "no room") for n in (1, 2)]
    async with journey() as (sink, rules):
        sink.answer = answer
        await accept(context, first, event, last, event)
        await route(redis, rules)
        await redis.xgroup_create(KEYS.topic("messages"), "bots.billing", "0")
        await redis.xgroup_create(KEYS.topic("everything"), "audit", "0")

        before = await story(context, OPERATOR, event.id)
        assert [told(part) for part in before.push] == [
            ("bot", PushState.WAITING, False, []),
            ("crm", PushState.WAITING, False, []),
        ]
        letters = DeadLetters(redis)
        async with delivering(redis, rules):
            await eventually(are_dead(redis, "bot", 3))
            await eventually(lambda: sink.ids("/crm").count(last.id))
            await eventually(async_settled(redis, "crm", 3))
        dead = await story(context, OPERATOR, event.id)
        assert told(dead.push[0]) == ("bot", PushState.DEAD, False, failed)
        assert dead.push[0].dead is not None
        assert dead.push[0].dead.reason
        works = True
        entries = [letter.record.entry async for letter in letters.of("bot") if letter.record.id == event.id]
        await letters.replay("bot", entries, now_ms())
        again = await story(context, OPERATOR, event.id)
        assert (again.push[0].state, again.push[0].replays) == (PushState.REPLAYING, 1)
        async with delivering(redis, rules):
            await eventually(async_settled(redis, "bot", 1))
    rows = await redis.xreadgroup("audit", "m1", {KEYS.topic("everything"): ">"}, count=2)
    await redis.xack(KEYS.topic("everything"), "audit", rows[0][1][0][0])

    whole = await story(context, OPERATOR, event.id)
    assert (whole.event.id, whole.event.type, whole.event.line) == (event.id, event.type, LINE)
    assert whole.event.body.text == event.body.decode()
    receipt = whole.receipt
    assert receipt.url == "/webhooks/linq?version=2026-02-03&line=16465550123&gen=2"
    assert (receipt.address, receipt.secret, receipt.proof) == ("203.0.113.7", "generation 2", Proof.URL)
    assert (receipt.repeats, receipt.at_ms) == (1, whole.event.at_ms)
    assert receipt.last_repeat_ms is not None
    assert abs(receipt.last_repeat_ms - receipt.at_ms) < 5_000
    assert [(part.topic, bool(part.entry), part.why_not) for part in whole.topics] == [
        ("messages", True, ()),
        ("everything", True, ()),
    ]
    assert [told(part) for part in whole.push] == [
        ("bot", PushState.DELIVERED, True, [*failed, (1, True, Outcome.DELIVERED, 200, "")]),
        ("crm", PushState.DELIVERED, False, [(1, False, Outcome.DELIVERED, 200, "")]),
    ]
    assert [(part.group, part.state, part.member) for part in whole.pull] == [
        ("bots.billing", PullState.UNREAD, None),
        ("audit", PullState.PENDING, "m1"),
    ]
    assert [each and each.id for each in (whole.chat.previous, whole.chat.next)] == [first.id, last.id]
    assert (whole.is_held, whole.notes) == (True, ())

    of_first = await story(context, OPERATOR, first.id)
    assert of_first.pull[1] == PullPart("audit", "everything", PullState.ACKNOWLEDGED)
    assert of_first.chat.previous is None

    of_team = await story(hiding(context), TEAM, event.id)
    assert (of_team.topics, of_team.push, of_team.event.body.text) == (whole.topics[:1], (), None)
    assert [part.group for part in of_team.pull] == ["bots.billing"]


def async_settled(redis: Redis, lane: str, delivered: int) -> Any:
    async def is_settled() -> bool:
        return int(await redis.hget(KEYS.lane(lane), "delivered") or 0) >= delivered  # type: ignore[misc]

    return is_settled


def are_dead(redis: Redis, lane: str, count: int) -> Any:
    async def is_so() -> bool:
        return int(await redis.xlen(KEYS.lane(lane, "dead"))) >= count

    return is_so


async def test_filter_retry_and_pause_are_told(redis: Redis, context: Context) -> None:
    async def answer(_: Received) -> web.Response:
        return web.Response(status=503)

    event = webhook_of("message.sent", event_id=str(uuid4()))
    async with journey('["1h"]', 'events = ["message.received"]') as (sink, rules):
        sink.answer = answer
        await accept(context, event)
        await route(redis, rules)
        async with delivering(redis, rules):
            await eventually(lambda: redis.zcard(KEYS.lane("crm", "retries")))
            await eventually(lambda: redis.hget(KEYS.lane("bot"), "filtered"))
    await redis.hset(KEYS.paused, "crm", '{"at_ms": 1, "reason": "maintenance"}')  # type: ignore[misc]
    bot, crm = (await story(context, OPERATOR, event.id)).push
    assert (bot.state, bot.notes) == (
        PushState.FILTERED,
        ("type message.sent matches none of message.received",),
    )
    assert (crm.state, crm.attempts[0].attempt.outcome) == (PushState.RETRYING, Outcome.THROTTLED)
    assert crm.due_ms is not None
    assert crm.due_ms > now_ms()
    assert crm.notes == ("the subscription is paused: maintenance",)


async def test_story_of_a_trimmed_event_comes_from_subscriptions(redis: Redis, context: Context) -> None:
    async def answer(received: Received) -> web.Response:
        return web.Response(status=400 if received.path == "/bot" else 200)

    event = webhook_of(event_id=str(uuid4()))
    async with journey() as (sink, rules):
        sink.answer = answer
        await accept(context, event)
        await route(redis, rules)
        async with delivering(redis, rules):
            await eventually(lambda: redis.xlen(KEYS.lane("bot", "dead")))
            await eventually(async_settled(redis, "crm", 1))
    await redis.xtrim(KEYS.topic("messages"), maxlen=0, approximate=False)
    partly = await story(context, OPERATOR, event.id)
    assert [(part.topic, bool(part.entry), part.why_not) for part in partly.topics] == [
        ("messages", False, ("it matches; the topic does not hold events of that time any more",)),
        ("everything", True, ()),
    ]
    await redis.xtrim(KEYS.topic("everything"), maxlen=0, approximate=False)
    await redis.delete(KEYS.seen_prefix + event.id)
    whole = await story(context, OPERATOR, event.id)
    assert (whole.is_held, whole.event.type, whole.event.body.text) == (False, event.type, event.body.decode())
    assert (whole.receipt.address, whole.receipt.repeats) == ("203.0.113.7", None)
    assert [part.state for part in whole.push] == [PushState.DEAD, PushState.DELIVERED]
    assert whole.notes == (
        "No topic holds the event any more: it was trimmed. This is what subscriptions still have of it.",
        "Repeats are not known any more: they are remembered for 6h.",
    )
    await redis.delete(KEYS.lane("bot", "dead"))
    from_attempts = await story(context, OPERATOR, event.id)
    assert (from_attempts.event.type, from_attempts.event.line, from_attempts.receipt.url) == (event.type, LINE, None)
    assert [part.state for part in from_attempts.push] == [PushState.DROPPED, PushState.DELIVERED]


async def test_event_that_the_principal_does_not_see_is_as_none(redis: Redis, context: Context) -> None:
    await put(redis, "everything", "e1", now_ms(), type="chat.created")
    assert [(part.topic, part.why_not) for part in (await story(context, OPERATOR, "e1")).topics] == [
        ("messages", ("type chat.created matches none of message.*",)),
        ("everything", ()),
    ]
    said = set()
    for event_id in ("e1", UNKNOWN):
        with pytest.raises(NotFound) as caught:
            await story(context, TEAM, event_id)
        said.add(str(caught.value).replace(event_id, "X"))
    assert len(said) == 1


async def test_conditions_on_the_body_are_explained_from_the_stored_event(redis: Redis, context: Context) -> None:
    conditions = {
        "without": 'not_sender = "+13035550188"',
        "media": "has_media = true",
        "where": "where = 'data.service'",
    }
    rules = Path("relay.toml").read_text()
    more = "".join(f'\n[[topics]]\nname = "{name}"\nevents = ["*"]\n{text}\n' for name, text in conditions.items())
    Path("relay.toml").write_text(rules + more)
    data = {"from": "+13035550188", "service": "SMS", "parts": [{"type": "text"}]}
    body = body_of("message.received", "e1", **data).decode()
    await put(redis, "everything", "e1", now_ms(), type="message.received", body=body)
    found = await story(hiding(context), OPERATOR, "e1")
    assert found.event.body.text is None
    assert {part.topic: part.why_not for part in found.topics if part.topic in conditions} == {
        "without": ("sender is +13035550188, which not_sender excludes",),
        "media": ("has_media is false, not true",),
        "where": ("where has no result, since it yields a text, not true or false: data.service",),
    }


async def test_accepted_event_that_no_topic_holds_is_told_as_such(context: Context) -> None:
    await accept(context, webhook_of(event_id=UNKNOWN))
    with pytest.raises(NotFound, match="was accepted, but no topic holds it: it waits to be routed"):
        await story(context, OPERATOR, UNKNOWN)


async def test_old_event_is_found_backwards_and_continued(
    redis: Redis, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_search, "PAGE", 3)
    began = now_ms() - 100_000
    for n in range(20):
        await put(redis, "messages", f"e{n}", began + n)
    await redis.set(KEYS.seen_prefix + "e2", b"x" * 12, px=1000)  # its life misleads: the window was changed
    cursors: list[str] = []
    for _ in range(5):
        with pytest.raises(NotFoundYet) as caught:
            await story(context, OPERATOR, "e2", cursors[-1] if cursors else None, seconds=0)
        cursors.append(caught.value.cursor)
        assert caught.value.searched_to_ms > began
    assert len(set(cursors)) == len(cursors)
    found = await story(context, OPERATOR, "e2", cursors[-1], seconds=None)
    assert found.event.places[0] == Place("messages", f"{began + 2}-0")
    assert "Repeats" not in " ".join(found.notes)
    assert (await story(context, OPERATOR, "e2", seconds=None)).event.id == "e2"


async def test_many_subscriptions_are_told_in_parts(redis: Redis, context: Context) -> None:
    hook = '[[subscriptions]]\nname = "{}"\ntopic = "everything"\nurl = "http://127.0.0.1:9/"\nsecret = "{}"\n'
    names = [*(f"bot-{n}" for n in range(5)), "crm"]
    Path("relay.toml").write_text(TWO_TOPICS + "".join(hook.format(name, SECRET.text) for name in names[:5]))
    await put(redis, "everything", "e1", now_ms(), type="chat.created")
    parts, after = [], ""
    for _ in range(3):
        part = await story(context, OPERATOR, "e1", asked=Range(after, 2))
        parts.append([push.subscription for push in part.push])
        assert {push.state for push in part.push} == {PushState.WAITING}
        after = part.push_after or ""
    assert (parts, after) == ([names[:2], names[2:4], names[4:]], "")
    assert [push.subscription for push in (await story(context, OPERATOR, "e1")).push] == names
