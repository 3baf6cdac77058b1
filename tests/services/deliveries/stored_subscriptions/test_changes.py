from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Forbidden, Invalid, NotFound, TooMany
from relay.core.secret import new_key
from relay.rules.current import Rules
from relay.services.account.teams import create_team
from relay.services.context import Context
from relay.services.deliveries import stored_subscriptions as service
from relay.services.deliveries import subscriptions
from relay.store import audit
from relay.store.stored_subscriptions import hash as stored
from relay.store.teams.teams import stored_teams
from tests.building import OTHER_SECRET, SECRET
from tests.services.deliveries.stored_subscriptions.conftest import OPERATOR, OPS, SALES, TEAM_RULES, table
from tests.support import KEYS, hash_of

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.settings import Settings
    from relay.rules.merge import View
    from relay.store.driver.client import Redis
    from tests.support import Clock


async def names(context: Context) -> set[str]:
    return set((await context.rules.current()).subscription_names)


async def test_created_one_is_in_force_and_its_secret_shown_once(context: Context, redis: Redis) -> None:
    created = await service.create(
        context, SALES, table(headers={"X-Key": "hidden"}, rate=5.0, retry=["5s"], events=None)
    )
    assert created.secret is not None
    assert created.secret.startswith("whsec_")
    state = await service.find(context, SALES, "crm")
    assert (state.team, state.version, state.unusable, state.secret_ends) == ("sales", 1, None, (None,))
    assert state.table == {"headers": {"X-Key": "***"}, "rate": 5.0, "retry": ["5s"]}
    assert await names(context) == {"bot", "crm"}
    row = (await hash_of(redis, KEYS.subscriptions))["crm"]
    assert created.secret not in row
    assert "hidden" not in row + repr(created.state)
    assert b"crm" in await redis.smembers(KEYS.lanes)  # type: ignore[misc]  # its events wait from now on


@pytest.mark.parametrize(
    ("keys", "place", "why"),
    [
        ({"topic": "everything"}, "topic", "there is no topic"),
        ({"topic": "nowhere"}, "topic", 'there is no topic "nowhere" (topics: messages)'),
        ({"team": "ops"}, "team", 'it must be "sales"'),
        ({"url": "http://169.254.169.254/latest"}, "url", "never connects"),
        ({"url": "https://elsewhere.example/"}, "url", 'not in egress of the team "sales"'),
        ({"url": "https://u:p@a.sales.example/"}, "url", "as auth"),
        ({"url": "ftp://a.sales.example/"}, "url", "http or https"),
        ({"url": "http://a..b.sales.example/"}, "url", "host of the url"),
        ({"secret": "env:RELAY_SECRET_KEY"}, "secret", "write the value itself"),
        ({"secret": "short"}, "secret.0", "whsec_"),
        ({"secret": "whsec_c2hvcnQ="}, "secret.0", "has 5 bytes, at least 16"),
        ({"headers": {"X-Key": "file:/etc/shadow"}}, "headers.X-Key", "write the value itself"),
        ({"headers": {"Relay-Topic": "x"}}, "headers", "cannot be overridden"),
        ({"headers": {"X-Key": "a\nb"}}, "headers.X-Key", "one line"),
        ({"headers": ["a"]}, "headers", "an object of names"),
        ({"auth": {"bearer": 5}}, "auth.bearer", "must be a string"),
        ({"ca_file": "/etc/hostname"}, "ca_file", "only a subscription in relay.toml"),
        ({"colour": "red"}, "colour", 'unknown field "colour"'),
        ({"timeout": "2h"}, "timeout", ""),
        ({"name": "no spaces"}, "name", "is not a name"),
        ({"name": 5}, "name", "is not a name"),
        ({"events": ["x" * 40_000]}, "subscription", "more than 32 KiB"),
    ],
)
async def test_mistakes_are_named_by_key(context: Context, keys: dict[str, object], place: str, why: str) -> None:
    with pytest.raises(Invalid) as error:
        await service.create(context, SALES, {**table(), **keys})
    assert place in [problem.place for problem in error.value.problems]
    assert why in str(error.value)
    assert await names(context) == {"bot"}


async def test_names_that_are_taken(context: Context, rules_file: Path, redis: Redis) -> None:
    with pytest.raises(Conflict, match=r"in relay\.toml; change it there"):
        await service.create(context, OPERATOR, table("bot"))
    neutral = '^the name "{}" cannot be used; choose another that begins with "sales-"$'
    with pytest.raises(Conflict, match=neutral.format("bot")):
        await service.create(context, SALES, table("bot"))
    with pytest.raises(Conflict, match=r"in relay\.toml; change it there"):
        await service.change(context, OPERATOR, "bot", {"rate": 5.0})
    with pytest.raises(NotFound, match=r'^no subscription "bot"$'):
        await service.delete(context, SALES, "bot", "why not")
    await service.create(context, SALES, table())
    with pytest.raises(Conflict, match=neutral.format("crm")):
        await service.create(context, SALES, table())
    await redis.sadd(KEYS.lanes, "former")  # type: ignore[misc]
    with pytest.raises(Conflict, match=neutral.format("former")):
        await service.create(context, SALES, table("former"))
    rules_file.write_text(TEAM_RULES.replace('"bot"', '"crm"'))
    state = await service.find(context, SALES, "crm")
    assert "relay.toml has a subscription of that name" in (state.unusable or "")
    assert await names(context) == {"crm"}
    await service.delete(context, SALES, "crm", "it was moved into relay.toml")
    assert await hash_of(redis, KEYS.subscriptions) == {}


async def test_team_sees_no_subscription_of_another(context: Context) -> None:
    await service.create(context, OPS, table("ops-crm"))
    await service.create(context, OPERATOR, table("operators"))
    for name in ("ops-crm", "operators", "nowhere"):
        expected = f'^no subscription "{name}"$'
        with pytest.raises(NotFound, match=expected):
            await service.find(context, SALES, name)
        with pytest.raises(NotFound, match=expected):
            await service.change(context, SALES, name, {"rate": 1.0})
        with pytest.raises(NotFound, match=expected):
            await service.rotate_secret(context, SALES, name, 0)
        with pytest.raises(NotFound, match=expected):
            await service.delete(context, SALES, name, "a reason")
    assert await service.list_stored(context, SALES) == []
    assert [state.name for state in await service.list_stored(context, OPERATOR)] == ["operators", "ops-crm"]
    reader = replace(SALES, scopes=frozenset({Scope.READ}))
    with pytest.raises(Forbidden):
        await service.create(context, reader, table())


async def test_change_is_a_merge_patch(context: Context) -> None:
    await service.create(context, SALES, table(rate=5.0, headers={"A": "1", "B": "2"}, secret=SECRET.text))
    patch = {"rate": None, "timeout": "3s", "headers": {"A": None, "C": "3"}}
    changed = await service.change(context, SALES, "crm", patch, version=1)
    assert changed.state.version == 2
    assert changed.state.table == {"timeout": "3s", "headers": {"B": "***", "C": "***"}}
    with pytest.raises(Invalid, match="secret: rotate it instead"):
        await service.change(context, SALES, "crm", {"secret": "whsec_a"})
    with pytest.raises(Invalid, match='team: it must be "sales"'):
        await service.change(context, SALES, "crm", {"team": None})
    for same in ({}, {"timeout": "3s"}, {"headers": {"B": "2"}, "rate": None}):
        assert (await service.change(context, SALES, "crm", same, version=2)).state.version == 2
    assert (await service.change(context, OPERATOR, "crm", {"team": "ops"})).state.version == 3
    commands = [record.command async for record in audit.records(context.redis)]
    assert commands == ["subscriptions change"] * 2 + ["subscriptions create"]


async def test_of_two_changes_at_once_one_is_refused(context: Context, settings: Settings, redis: Redis) -> None:
    await service.create(context, SALES, table())
    other = Context(settings, redis, Rules(settings, redis))
    await asyncio.gather(context.config(), other.config())
    results = await asyncio.gather(
        service.change(context, SALES, "crm", {"rate": 1.0}),
        service.change(other, SALES, "crm", {"rate": 2.0}),
        return_exceptions=True,
    )
    [refused] = [result for result in results if isinstance(result, Exception)]
    assert isinstance(refused, Conflict)
    assert "its version is 2" in str(refused)
    with pytest.raises(Conflict, match="its version is 2"):
        await service.delete(context, SALES, "crm", "old", version=1)


async def test_rotation_keeps_the_former_secret_for_the_overlap(context: Context, clock: Clock) -> None:
    await service.create(context, SALES, table(secret=SECRET.text))
    rotated = await service.rotate_secret(context, SALES, "crm", 60.0, secret=OTHER_SECRET.text)
    assert rotated.secret is None
    now_ms = round(clock.now * 1000)
    assert rotated.state.secret_ends == (None, now_ms + 60_000)
    again = await service.rotate_secret(context, SALES, "crm", 3600.0)
    assert again.secret is not None
    assert again.state.secret_ends == (None, now_ms + 3_600_000, now_ms + 60_000)
    clock.now += 61
    assert (await service.find(context, SALES, "crm")).secret_ends == (None, now_ms + 3_600_000)
    assert (await service.rotate_secret(context, SALES, "crm", 0)).state.secret_ends == (None,)
    with pytest.raises(Invalid, match="overlap"):
        await service.rotate_secret(context, SALES, "crm", 1e9)
    for _ in range(4):
        await service.rotate_secret(context, SALES, "crm", 60)
    with pytest.raises(Conflict, match="5 valid secrets"):
        await service.rotate_secret(context, SALES, "crm", 60)


async def test_deleted_name_stays_its_teams(context: Context) -> None:
    await service.create(context, SALES, table())
    with pytest.raises(Invalid, match="give the reason"):
        await service.delete(context, SALES, "crm", " ")
    await service.delete(context, SALES, "crm", "no longer used")
    assert await names(context) == {"bot"}
    with pytest.raises(NotFound):
        await service.find(context, SALES, "crm")
    with pytest.raises(NotFound):
        await subscriptions.drop(context, OPS, "crm")
    with pytest.raises(Conflict, match="choose another"):
        await service.create(context, OPS, table())
    assert (await service.create(context, SALES, table())).state.version == 3
    with pytest.raises(Conflict, match="still exists"):
        await subscriptions.drop(context, SALES, "crm")
    await service.delete(context, SALES, "crm", "no longer used")
    assert await subscriptions.drop(context, SALES, "crm") == 0
    assert (await service.create(context, OPS, table())).state.version == 1


async def test_limits(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.services.deliveries.stored_subscriptions.admission.MAX_PER_TEAM", 1)
    await service.create(context, SALES, table("one"))
    with pytest.raises(TooMany, match="the team has"):
        await service.create(context, SALES, table("two"))
    monkeypatch.setattr(stored, "MAX_STORED", 1)
    with pytest.raises(TooMany, match="subscriptions made by the API already"):
        await service.create(context, OPERATOR, table("two"))


async def test_without_the_key_that_encrypted_it(context: Context, settings: Settings, redis: Redis) -> None:
    await service.create(context, SALES, table())
    for key, why in ((None, "RELAY_SECRET_KEY is not set"), (new_key(), "another RELAY_SECRET_KEY")):
        other_settings = settings.model_copy(update={"relay_secret_key": None if key is None else SecretStr(key)})
        other = Context(other_settings, redis, Rules(other_settings, redis))
        assert [state.name for state in await service.list_stored(other, SALES)] == ["crm"]
        with pytest.raises(Conflict, match=why):
            await service.change(other, SALES, "crm", {"rate": 1.0})


async def test_damaged_record_can_be_deleted(context: Context, redis: Redis) -> None:
    await redis.hset(KEYS.subscriptions, "odd", "{")  # type: ignore[misc]
    with pytest.raises(Conflict, match="changed by another client"):
        await service.change(context, OPERATOR, "odd", {"rate": 1.0})
    with pytest.raises(NotFound):
        await service.delete(context, SALES, "odd", "it is broken")
    await service.delete(context, OPERATOR, "odd", "it is broken")
    assert await hash_of(redis, KEYS.subscriptions) == {}


async def test_team_of_the_api_has_subscriptions_until_it_is_gone(context: Context) -> None:
    await create_team(context, OPERATOR, "late", ["messages"])
    await service.create(context, OPERATOR, table(team="late", url="http://late.example/"))
    with pytest.raises(Invalid, match='not granted the topic "everything"'):
        await service.change(context, OPERATOR, "crm", {"topic": "everything"})
    assert await names(context) == {"bot", "crm"}
    await stored_teams(context.redis).delete("late")
    assert (
        await service.find(context, OPERATOR, "crm")
    ).unusable == 'team: there is no team "late" (teams: sales, ops)'
    assert await names(context) == {"bot"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127\u30020\u30020\u30021"])
async def test_team_cannot_name_the_loopback_of_the_relay(context: Context, host: str) -> None:
    await create_team(context, OPERATOR, "late", ["messages"])
    late = replace(SALES, team="late")
    with pytest.raises(Invalid, match="the relay's own machine"):
        await service.create(context, late, table(url=f"http://{host}:6379/"))
    await service.create(context, late, table(url="http://late.example/"))
    with pytest.raises(Invalid, match="the relay's own machine"):
        await service.change(context, late, "crm", {"url": f"http://{host}:6379/"})


async def test_worker_refuses_a_team_the_loopback_it_was_not_listed(context: Context) -> None:
    view = await context.rules.view()
    assert view.egress_of(None).refusal("localhost", ip_address("127.0.0.1")) is None
    assert view.egress_of("sales").refusal("localhost", ip_address("127.0.0.1")) is None  # its egress lists it
    late = (await _with_team(context, "late")).egress_of("late")
    assert "own machine" in str(late.refusal("localhost", ip_address("127.0.0.1")))
    assert late.refusal("hooks.example.com", ip_address("192.0.2.1")) is None


async def _with_team(context: Context, name: str) -> View:
    await create_team(context, OPERATOR, name, ["messages"])
    return await context.rules.view()


async def test_shadows_and_exclusive_topics(context: Context, rules_file: Path) -> None:
    await service.create(context, SALES, table("crm", lines=["+16465550123"]))
    made = await service.create(context, SALES, {"name": "next", "shadow_of": "crm", "url": "https://a.sales.example"})
    assert (made.state.topic, made.state.team, "lines" in made.state.table) == ("messages", "sales", False)
    view = await context.rules.view()
    [shadow] = [each for each in view.config.subscriptions if each.name == "next"]
    assert shadow.lines == ("+16465550123",)
    await service.change(context, SALES, "crm", {"lines": ["+16465550124"]})
    view = await context.rules.view()
    assert [each.lines for each in view.config.subscriptions if each.name == "next"] == [("+16465550124",)]
    foreign = {"name": "spy", "shadow_of": "crm", "url": "https://a.example"}
    with pytest.raises(Invalid, match=r'there is no subscription "crm" of the team "ops" to shadow'):
        await service.create(context, OPS, foreign)
    rules_file.write_text(TEAM_RULES.replace('events = ["message.*"]', 'events = ["message.*"]\nexclusive = true', 1))
    view = await context.rules.view()
    assert view.unusable["crm"] == 'the topic "messages" is exclusive, and another subscription has it'
    with pytest.raises(Conflict, match='the topic "messages" is exclusive, and another subscription has it'):
        await service.create(context, SALES, table("second"))
    await service.delete(context, SALES, "crm", "moved")
    assert 'there is no subscription "crm"' in (await context.rules.view()).unusable["next"]
