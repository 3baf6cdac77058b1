"""The life of a message: joined from what topics hold, as far as one may see it, and what is missing in it."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from relay.core.config.relay_toml import parse_config
from relay.core.errors import NotFound
from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.metrics.worker_metrics import WorkerMetrics
from relay.sandbox.events.conversations import conversation
from relay.sandbox.events.event import v3_event_of
from relay.sandbox.payloads import NEW, OLD, Scenario
from relay.sandbox.payloads.v2 import v2_body
from relay.services.topics.history.find import NotFoundYet
from relay.services.topics.life.life import life_of
from relay.services.topics.life.steps import Has, kind_of
from relay.services.topics.life.summary import MessageState
from relay.store.topics import stream_search
from relay.store.topics.record import fields_of
from tests.building import LINE
from tests.services.topics.history.conftest import OPERATOR, TEAM, context, hiding  # noqa: F401  a fixture
from tests.support import KEYS
from tests.workers.conftest import open_sink, rules_for
from workers.routing.facts import BodyFacts

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.services.topics.life.summary import Life
    from relay.store.driver.client import Redis

NOW = datetime.now(UTC)
MINE = Scenario(line=LINE, ours=True, occurred_at=NOW, message_id=str(uuid4()), chat_id="c1", service="iMessage")


async def happen(
    redis: Redis, event_type: str, scenario: Scenario, version: str = NEW, *, reply_to: str | None = None
) -> str:
    """Put an event into the topics that match it, as the router does; return its id."""
    event_id = str(uuid4())
    made = v3_event_of(event_type, event_id, scenario.occurred_at, scenario)
    if reply_to is not None:
        data = made.data
        made = replace(made, data=lambda v: {**data(v), "reply_to": {"message_id": reply_to, "part_index": 0}})
    await put(redis, Dialect.V3, made.content(version, None).body)
    return event_id


async def put(redis: Redis, dialect: Dialect, body: bytes) -> None:
    event = decode(dialect, body, LINE).event
    for topic in parse_config(Path("relay.toml").read_text()).index.match(
        event, body, BodyFacts(WorkerMetrics.unscraped())
    ):
        await redis.sadd(KEYS.topics, topic)  # type: ignore[misc]
        names = iter(fields_of(event, round(time.time() * 1000), event.id, body))
        await redis.xadd(KEYS.topic(topic), dict(zip(names, names, strict=True)))


def kinds(life: Life) -> list[str]:
    return [step.kind for step in life.steps]


@pytest.mark.parametrize("version", [NEW, OLD])
async def test_every_message_of_conversations_is_joined(redis: Redis, context: Context, version: str) -> None:  # noqa: F811
    rng = random.Random(7)
    told: defaultdict[str, list[str]] = defaultdict(list)
    for _ in range(12):
        for event_type, scenario in conversation(LINE, rng):
            await happen(redis, event_type, scenario, version)
            body = v3_event_of(event_type, "e", NOW, scenario).content(version, None).body
            if message := decode(Dialect.V3, body, None).event.fields.message:
                told[message].append(kind_of(event_type))
    assert {"delivered", "read", "reaction added", "received", "sent"} <= {
        kind for each in told.values() for kind in each
    }
    for message, expected in told.items():
        life = await life_of(context, OPERATOR, message)
        assert sorted(kinds(life)) == sorted(expected)
        assert (life.facts.line, life.cursor) == (LINE, None)
        state = next(kind for kind in ("read", "delivered", "failed", "sent", "received") if kind in expected)
        assert life.state == state


async def test_reply_reactions_edit_and_failure_are_told(redis: Redis, context: Context) -> None:  # noqa: F811
    asked = replace(MINE, ours=False)
    first = await happen(redis, "message.received", asked)
    await happen(redis, "message.edited", asked)
    reply = MINE.next_message("Yes.", str(uuid4()))
    await happen(redis, "message.sent", reply, reply_to=asked.message_id)
    await happen(redis, "reaction.added", replace(asked, ours=True))
    await happen(redis, "message.failed", replace(reply, code=4002))
    life = await life_of(context, OPERATOR, asked.message_id)
    assert life.steps[0].event == first
    assert sorted(kinds(life)) == sorted(["received", "edited", "reply", "reaction added"])
    by_kind = {step.kind: step for step in life.steps}
    assert (by_kind["reply"].reply, by_kind["received"].by) == (reply.message_id, asked.customer)
    assert (by_kind["reaction added"].detail, by_kind["reaction added"].by) == ("like", LINE)
    assert by_kind["edited"].detail == "part 0"
    assert (life.state, life.notes) == (MessageState.RECEIVED, ())
    answer = await life_of(context, OPERATOR, reply.message_id)
    assert answer.facts.reply_to == asked.message_id
    assert (answer.state, answer.steps[-1].detail) == (MessageState.FAILED, "code 4002: Sender line is offline")
    hidden = await life_of(hiding(context), OPERATOR, asked.message_id)
    assert {step.by for step in hidden.steps} == {None}


async def test_team_sees_what_its_topics_hold(redis: Redis, context: Context) -> None:  # noqa: F811
    await happen(redis, "message.received", replace(MINE, ours=False))
    await happen(redis, "reaction.added", MINE)
    assert kinds(await life_of(context, TEAM, MINE.message_id)) == ["received"]
    await redis.delete(KEYS.topic("messages"))
    with pytest.raises(NotFound, match="the topics hold none"):
        await life_of(context, TEAM, MINE.message_id)
    assert len((await life_of(context, OPERATOR, MINE.message_id)).steps) == 2


@pytest.mark.parametrize(
    ("events", "changes", "says"),
    [
        (["message.sent"], {}, "neither message.delivered nor message.failed has come"),
        (["message.sent"], {"service": "SMS"}, "no receipts for SMS"),
        (["message.read"], {}, "No topic holds its beginning"),
        (["message.sent", "message.read"], {}, "No topic holds its message.delivered; a later event tells"),
        (["message.sent", "message.failed", "message.delivered"], {}, "was delivered after all"),
    ],
)
async def test_missing_steps_are_named(
    redis: Redis,
    context: Context,  # noqa: F811
    events: list[str],
    changes: dict[str, Any],
    says: str,
) -> None:
    for event_type in events:
        await happen(redis, event_type, replace(MINE, **changes))
    notes = (await life_of(context, OPERATOR, MINE.message_id)).notes
    assert any(says in note for note in notes), notes


async def test_receipts_that_no_topic_takes_are_named(redis: Redis, context: Context) -> None:  # noqa: F811
    Path("relay.toml").write_text('[[topics]]\nname = "messages"\nevents = ["message.sent"]\n')
    await happen(redis, "message.sent", MINE)
    life = await life_of(context, OPERATOR, MINE.message_id)
    assert life.untaken == ("message.delivered", "message.read", "message.failed")
    assert "No topic that you may read takes message.delivered" in life.notes[0]
    assert "a failure would not be seen" in life.notes[1]


async def test_v2_messages_have_a_life_too(redis: Redis, context: Context) -> None:  # noqa: F811
    for event_type in ("message.sent", "message.read", "reaction.received"):
        body = v2_body(event_type, MINE, str(uuid4()), NOW)
        await put(redis, Dialect.V2, body)
    message = decode(Dialect.V2, body, None).event.fields.message
    assert message is not None
    life = await life_of(context, OPERATOR, message)
    assert (sorted(kinds(life)), life.state) == (["reaction", "read", "sent"], MessageState.READ)


async def test_state_at_each_subscription_is_told(redis: Redis, context: Context) -> None:  # noqa: F811
    async with open_sink() as sink:
        Path("relay.toml").write_text(rules_for(sink))
        await happen(redis, "message.received", replace(MINE, ours=False))
        life = await life_of(context, OPERATOR, MINE.message_id)
    names = {each.name for each in parse_config(Path("relay.toml").read_text()).subscriptions}
    assert life.steps[0].has is not None
    assert set(life.steps[0].has) <= {Has(name, "waiting") for name in names}
    assert life.steps[0].has


async def test_search_ends_at_the_beginning_or_goes_on_with_a_cursor(
    redis: Redis,
    context: Context,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_search, "PAGE", 5)
    for age in range(40):
        await redis.xadd(KEYS.topic("everything"), {"id": f"old-{age}", "body": "{}"}, f"{10**12 + age * 10**5}-0")
    await happen(redis, "message.sent", MINE)
    seen: list[int] = []
    await life_of(context, OPERATOR, MINE.message_id, progress=lambda now: seen.append(now.read))
    assert max(seen, default=0) < 40
    with pytest.raises(NotFoundYet) as early:
        await life_of(context, OPERATOR, str(uuid4()), seconds=0.000_001)
    assert "no event of message" in str(early.value)
    assert early.value.cursor


async def test_parts_of_a_search_are_joined(
    redis: Redis,
    context: Context,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_search, "PAGE", 5)
    await happen(redis, "message.sent", MINE)
    later = round(time.time() * 1000) + 1000
    for age in range(20):
        await redis.xadd(KEYS.topic("everything"), {"id": f"other-{age}", "body": "{}"}, f"{later + age * 10}-0")
    event = v3_event_of("message.read", "read", NOW, MINE).content(NEW, None).body
    names = iter(fields_of(decode(Dialect.V3, event, LINE).event, later, "read", event))
    await redis.xadd(KEYS.topic("everything"), dict(zip(names, names, strict=True)), f"{later + 500}-0")
    first = await life_of(context, OPERATOR, MINE.message_id, seconds=0.000_001)
    assert (kinds(first), first.steps[0].has) == (["read"], None)
    assert first.cursor is not None
    assert "Not everything was searched: there may be earlier steps." in first.notes
    rest = await life_of(context, OPERATOR, MINE.message_id, first.cursor, seconds=None)
    whole = first.joined(rest)
    assert (kinds(whole), whole.state, whole.cursor) == (["sent", "read"], MessageState.READ, None)
    assert whole.facts.sent_ms is not None
    assert first.searched(None).cursor is None
