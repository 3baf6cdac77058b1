"""A team sees its own, and is answered about everything else as if it did not exist; a missing right is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.access.scopes import Scope
from relay.core.errors import Forbidden, NotFound
from relay.core.event import Dialect
from relay.core.event_filter import EventFilter
from relay.linq.payloads.content import BodyContent
from relay.linq.payloads.decode import decode
from relay.services.account import audit
from relay.services.deliveries import attempts, dead_letters, replays, subscriptions
from relay.services.deliveries.dead_letters import Choice
from relay.services.deliveries.replays import Request
from relay.services.deliveries.subscriptions import State
from relay.services.operators import ledger, lines, quarantine
from relay.services.topics import explain, groups, topics
from relay.services.topics.groups import Target
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from tests.building import body_of
from tests.cli.attempting import GOOD, remember
from tests.cli.dead.conftest import bury
from tests.services.conftest import CRM, LINE, OPERATOR
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.services.context import Context

    Call = Callable[[Context, str], Awaitable[Any]]

ANY = EventFilter()


@pytest.fixture
async def world(context: Context) -> Context:
    """Each team and the operators have a subscription with a dead letter and an attempt, a pull group and a replay."""
    redis = context.redis
    for topic, team in (("support", "crm"), ("billing", "erp")):
        await redis.xadd(KEYS.topic(topic), {"id": "e", "type": "message.received", "line": LINE, "body": "{}"})
        await redis.sadd(KEYS.topics, topic)  # type: ignore[misc]
        for group in (team, f"{team}.second", f"{team}x"):
            await redis.xgroup_create(KEYS.topic(topic), group, id="0")
    for name, topic in (("crm-bot", "support"), ("erp-bot", "billing"), ("own-bot", "support"), ("former", "support")):
        await bury(redis, name, f"dead-{name}")
        await Lane(redis, name, topic).ensure()
        await remember(redis, name, GOOD)
    for topic, name in (("support", "crm-bot"), ("billing", "erp-bot")):
        await replays.start(context, OPERATOR, Request(topic, name))
    await redis.hset(KEYS.last_seen, mapping={LINE: "1789377302417 1", "+16465550124": "1789377302417 1"})  # type: ignore[misc]
    return context


async def test_team_sees_its_own(world: Context) -> None:
    assert [each.name for each in await subscriptions.list_states(world, CRM)] == ["crm-bot"]
    assert [each.subscription for each in (await dead_letters.search(world, CRM)).items] == ["crm-bot"]
    assert [each.subscription for each in (await attempts.search(world, CRM)).items] == ["crm-bot"]
    [topic] = await topics.list_states(world, CRM)
    assert (topic.name, {group.name for group in topic.groups}) == ("support", {"crm-bot", "crm", "crm.second"})
    assert [each.name for each in await groups.list_groups(world, CRM)] == ["crm", "crm.second"]
    assert [each.replay.order.to for each in await replays.list_replays(world, CRM)] == ["crm-bot"]
    [line] = await lines.list_lines(world, CRM)
    assert (line.line, line.last_event_ms, line.last_generation, line.generations) == (LINE, 1789377302417, None, ())
    await subscriptions.pause(world, CRM, "crm-bot", "deploy")
    await subscriptions.pause(world, OPERATOR, "own-bot")
    assert [each.target for each in (await audit.search(world, CRM)).items] == ["crm-bot"]


async def test_operator_sees_all(world: Context) -> None:
    states = {each.name: each.state for each in await subscriptions.list_states(world, OPERATOR)}
    assert states.keys() == {"crm-bot", "erp-bot", "own-bot", "former"}
    assert states["former"] is State.REMOVED
    assert len((await dead_letters.search(world, OPERATOR)).items) == 4
    assert {each.name for each in await groups.list_groups(world, OPERATOR)} >= {"crm", "erp", "erpx"}
    assert len((await audit.search(world, OPERATOR)).items) == 2
    assert {each.line for each in await lines.list_lines(world, OPERATOR)} == {LINE, "+16465550124"}


async def _seek(context: Context, name: str) -> None:
    topic = "billing" if name == "erp" else "support"
    await groups.seek(context, CRM, await groups.plan(context, CRM, topic, name, Target.end()))


# The call, the name of another team's thing (or of none's), and a name that does not exist.
HIDDEN: dict[str, tuple[Call, str]] = {
    "state": (lambda context, name: subscriptions.get_state(context, CRM, name), "erp-bot"),
    "state of the operators'": (lambda context, name: subscriptions.get_state(context, CRM, name), "own-bot"),
    "state of a removed one": (lambda context, name: subscriptions.get_state(context, CRM, name), "former"),
    "pause": (lambda context, name: subscriptions.pause(context, CRM, name), "erp-bot"),
    "resume": (lambda context, name: subscriptions.resume(context, CRM, name), "erp-bot"),
    "drop": (lambda context, name: subscriptions.drop(context, CRM, name, even_with_events=True), "former"),
    "dead letters": (lambda context, name: dead_letters.search(context, CRM, name), "erp-bot"),
    "replay of dead letters": (lambda context, name: dead_letters.replay(context, CRM, Choice(name)), "erp-bot"),
    "drop of dead letters": (lambda context, name: dead_letters.drop(context, CRM, Choice(name), "x"), "own-bot"),
    "attempts": (lambda context, name: attempts.search(context, CRM, name), "erp-bot"),
    "topic": (lambda context, name: topics.get_state(context, CRM, name), "billing"),
    "groups": (lambda context, name: groups.list_groups(context, CRM, name), "billing"),
    "group": (lambda context, name: groups.get_group(context, CRM, "support", name), "crmx"),
    "group of a subscription": (lambda context, name: groups.get_group(context, CRM, "support", name), "push:own-bot"),
    "seek": (_seek, "crmx"),
    "delete": (lambda context, name: groups.delete(context, CRM, "support", name), "crmx"),
    "replay of a topic": (lambda context, name: replays.preview(context, CRM, Request(name, "crm-bot")), "billing"),
    "replay to": (lambda context, name: replays.start(context, CRM, Request("support", name)), "own-bot"),
}


@pytest.mark.parametrize("case", HIDDEN)
async def test_things_of_other_teams_are_not_found(world: Context, case: str) -> None:
    call, name = HIDDEN[case]
    messages = []
    for asked in (name, "missing"):
        with pytest.raises(NotFound) as refused:
            await call(world, asked)
        messages.append(str(refused.value).replace(asked, "NAME"))
    assert messages[0] == messages[1]
    assert not (await audit.search(world, CRM)).items


async def test_replay_of_others_is_not_found(world: Context) -> None:
    ids = {each.replay.order.to: each.replay.id for each in await replays.list_replays(world, OPERATOR)}
    for call in (replays.get, replays.cancel):
        with pytest.raises(NotFound, match=ids["erp-bot"]):
            await call(world, CRM, ids["erp-bot"])
    assert (await replays.cancel(world, CRM, ids["crm-bot"])).state == "cancelled"


OPERATORS: dict[str, Call] = {
    "ledger": lambda context, _: ledger.read(context, CRM),
    "quarantine": lambda context, _: quarantine.search(context, CRM),
    "one of the quarantine": lambda context, _: quarantine.get(context, CRM, "1-1"),
    "retry": lambda context, _: quarantine.retry(context, CRM, ANY),
    "drop of the quarantine": lambda context, _: quarantine.drop(context, CRM, ANY, "x"),
    "drop of a topic": lambda context, _: topics.drop(context, CRM, "support"),
}


@pytest.mark.parametrize("case", OPERATORS)
async def test_team_is_refused_operations_of_operators(context: Context, case: str) -> None:
    with pytest.raises(Forbidden):
        await OPERATORS[case](context, "")


async def test_reader_changes_nothing(world: Context) -> None:
    reader = replace(OPERATOR, scopes=frozenset({Scope.READ}))
    [first, *_] = (await dead_letters.search(world, reader)).items
    [replay, *_] = await replays.list_replays(world, reader)
    plan = await groups.plan(world, reader, "support", "crm", Target.end())
    changes = (
        subscriptions.pause(world, reader, "crm-bot"),
        subscriptions.resume(world, reader, "crm-bot"),
        subscriptions.drop(world, reader, "former", even_with_events=True),
        dead_letters.replay(world, reader, Choice(first.subscription, ids=[first.record.entry])),
        dead_letters.drop(world, reader, Choice(), "x"),
        groups.seek(world, reader, plan),
        groups.delete(world, reader, "support", "crm"),
        replays.start(world, reader, Request("support", "crm-bot")),
        replays.cancel(world, reader, replay.replay.id),
        quarantine.drop(world, reader, ANY, "x"),
        topics.drop(world, reader, "support"),
    )
    for change in changes:
        with pytest.raises(Forbidden, match="this needs the scope"):
            await change
    assert len((await audit.search(world, reader)).items) == 2


async def test_explanation_is_limited_to_visible_subscriptions(world: Context) -> None:
    body = body_of("message.received")
    event, content = decode(Dialect.V3, body, LINE).event, BodyContent(body)
    of_all = await explain.explain(world, OPERATOR, event, content)
    assert {each.subscription for each in of_all.receivers} == {"crm-bot", "own-bot", "crm", "crm.second", "crmx"}
    assert of_all.topics["billing"].why_not == [f"line {LINE} is not one of +16465550124"]
    of_team = await explain.explain(world, CRM, event, content)
    assert (of_team.matching, [*of_team.topics]) == (["support"], ["support"])
    assert {each.subscription: each.state for each in of_team.receivers} == {
        "crm-bot": "delivering",
        "crm": "1 event behind",
        "crm.second": "1 event behind",
    }


async def test_state_at_a_glance_is_the_counted_one(world: Context) -> None:
    await world.redis.xadd(KEYS.topic("support"), {"id": "new"})
    await Suspensions(world.redis).pause("own-bot", "deploy", 5)
    await world.redis.set(KEYS.lane("erp-bot", "blocked"), "x")
    glance = await subscriptions.list_states(world, OPERATOR)
    counted = await subscriptions.list_states(world, OPERATOR, is_exact=True)
    assert [replace(each, is_exact=True) for each in glance] == [replace(each, is_exact=True) for each in counted]
    assert {each.name: (each.state, each.waiting, each.dead) for each in glance} == {
        "crm-bot": (State.DELIVERING, 1, 1),
        "erp-bot": (State.SUSPENDED, 0, 0),
        "former": (State.REMOVED, 1, 1),
        "own-bot": (State.PAUSED, 1, 1),
    }
    for each in glance:
        assert await subscriptions.get_state(world, OPERATOR, each.name) == each
    first = await subscriptions.search(world, OPERATOR, limit=3)
    rest = await subscriptions.search(world, OPERATOR, first.next, limit=3)
    assert ([*first.items, *rest.items], rest.next) == (glance, None)
