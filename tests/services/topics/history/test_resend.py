from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.config.file import ConfigFile
from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Forbidden, NotFound, TooMany
from relay.services.topics.events import resend, resend_entry, story
from relay.services.topics.history.push import PushState
from relay.services.topics.history.view import Place
from relay.store import audit
from relay.store.ledger.ledger import Ledger
from tests.building import TWO_TOPICS
from tests.services.topics.history.conftest import OPERATOR, TEAM, put
from tests.support import KEYS, eventually, fill_stream
from tests.workers.conftest import open_sink, rules_for
from tests.workers.delivering import delivering, ledger_of, now_ms

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.driver.client import Redis

_TEAMS = """
[[teams]]
name = "bots"
topics = ["messages"]
"""


def owned(rules: str, *, of: str = "bot", team: str = "bots") -> str:
    """Return the rules with a team that owns a subscription."""
    return rules.replace(f'name = "{of}"', f'name = "{of}"\nteam = "{team}"') + _TEAMS


async def test_event_of_any_topic_is_delivered_again_and_the_ledger_balances(redis: Redis, context: Context) -> None:
    await put(redis, "everything", "e1", now_ms() - 10)
    async with open_sink() as sink:
        Path("relay.toml").write_text(rules_for(sink))
        sent = await resend(context, OPERATOR, "e1", "bot", why="they lost it")
        assert (sent.event_id, sent.place.topic, sent.subscription, sent.notes) == ("e1", "everything", "bot", ())
        waiting = await story(context, OPERATOR, "e1")
        assert [(part.subscription, part.state) for part in waiting.push][-1] == ("bot", PushState.REPLAYING)
        assert (await ledger_of(redis, "bot")).waiting == 1
        async with ConfigFile(Path("relay.toml")) as rules, delivering(redis, rules, "bot"):
            await eventually(lambda: sink.ids("/bot"))
            await eventually(lambda: redis.hget(KEYS.lane("bot"), "delivered"))
        [received] = sink.received
    assert (received.headers["relay-topic"], received.headers["relay-replay"]) == ("everything", "true")
    [bot] = [row for row in await Ledger(redis).lanes() if row.subscription == "bot"]
    assert (bot.balances, bot.from_history, bot.replayed, bot.delivered, bot.waiting) == (True, 1, 1, 1, 0)
    [change] = [fields async for fields in audit.records(redis)]
    assert (change.command, change.target, change.why) == ("replay event", "e1 of everything to bot", "they lost it")


async def test_own_topic_of_the_subscription_comes_first(redis: Redis, context: Context) -> None:
    at = now_ms() - 10
    await put(redis, "messages", "e1", at)
    entry = await put(redis, "everything", "e1", at)
    assert (await resend(context, OPERATOR, "e1", "crm")).place == Place("everything", entry)
    assert (await resend(context, OPERATOR, "e1", "crm", topic="messages")).place.topic == "messages"
    assert (await resend_entry(context, OPERATOR, Place("everything", entry), "bot")).event_id == "e1"


async def test_team_sends_only_what_it_sees_to_what_it_owns(redis: Redis, context: Context) -> None:
    Path("relay.toml").write_text(owned(TWO_TOPICS))
    at = now_ms() - 10
    await put(redis, "messages", "e1", at)
    entry = await put(redis, "everything", "e2", at)
    assert (await resend(context, TEAM, "e1", "bot")).place.topic == "messages"
    for event_id, subscription in (("e2", "bot"), ("e1", "crm"), ("unknown", "bot")):
        with pytest.raises(NotFound):
            await resend(context, TEAM, event_id, subscription)
    with pytest.raises(NotFound):
        await resend_entry(context, TEAM, Place("everything", entry), "bot")
    with pytest.raises(Forbidden, match='team "bots", which owns bot, may not read topic "everything"'):
        await resend(context, OPERATOR, "e2", "bot")
    with pytest.raises(Forbidden):
        await resend(context, replace(TEAM, scopes=frozenset({Scope.READ})), "e1", "bot")
    assert await redis.xlen(KEYS.lane("bot", "replay")) == 1


async def test_excluded_event_missing_entry_and_full_lane_are_refused(redis: Redis, context: Context) -> None:
    Path("relay.toml").write_text(TWO_TOPICS.replace('name = "bot"', 'name = "bot"\nevents = ["message.sent"]'))
    entry = await put(redis, "messages", "e1", now_ms() - 10)
    with pytest.raises(Conflict, match=r"the filter of bot excludes the event: type message\.received"):
        await resend(context, OPERATOR, "e1", "bot")
    for place in (Place("messages", "1-0"), Place("messages", "x")):
        with pytest.raises(NotFound, match="has no entry"):
            await resend_entry(context, OPERATOR, place, "crm")
    await fill_stream(redis, KEYS.lane("crm", "replay"), 100_000)
    with pytest.raises(TooMany, match="100,000 replayed events"):
        await resend_entry(context, OPERATOR, Place("messages", entry), "crm")
