"""Teams: those of the file win, a team sees itself only, and one that owns something is not deleted."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.core.errors import Conflict, Forbidden, Invalid, NotFound
from relay.core.secret import new_key
from relay.rules.current import Rules
from relay.services.account import tokens
from relay.services.account.audit import export, search
from relay.services.account.teams import (
    Source,
    change_team,
    create_team,
    delete_team,
    get_team,
    granted_topics,
    list_teams,
)
from relay.services.deliveries.stored_subscriptions import create
from relay.services.topics import groups
from relay.store import audit
from relay.store.driver.client import ask
from relay.store.teams.teams import stored_teams
from relay.store.teams.tokens import Token
from relay.store.teams.tokens import tokens as stored_tokens
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.driver.client import Redis

CLI = Principal("ann@host", None, EVERY_SCOPE)
READER = Principal("eve", None, frozenset({Scope.READ}))
CRM = Principal("crm", "crm", EVERY_SCOPE, frozenset({"support"}), "10.0.0.1", "token")


async def test_team_is_made_changed_and_deleted(context: Context) -> None:
    made = await create_team(context, CLI, "ops", ["billing"], "#ops")
    assert (made.topics, made.contact, made.source, made.version) == (("billing",), "#ops", Source.API, 1)
    changed = await change_team(context, CLI, "ops", topics=["*"], version=1)
    assert (changed.topics, changed.contact, changed.version) == (("*",), "#ops", 2)
    assert (await change_team(context, CLI, "ops", topics=["*"], contact="#ops", version=2)).version == 2
    with pytest.raises(Conflict, match="has version 2, not 1"):
        await change_team(context, CLI, "ops", contact="", version=1)
    assert [team.name for team in await list_teams(context, READER)] == ["crm", "erp", "ops"]
    await delete_team(context, CLI, "ops", version=2, why="gone")
    with pytest.raises(NotFound, match=r'^no team "ops" \(known: crm, erp\)$'):
        await get_team(context, CLI, "ops")
    recorded = [(record.command, record.target, record.why) async for record in audit.records(context.redis)]
    assert recorded == [("teams delete", "ops", "gone"), ("teams change", "ops", ""), ("teams create", "ops", "")]


async def test_team_sees_itself_only(context: Context) -> None:
    [own] = await list_teams(context, CRM)
    assert (own.name, own.subscriptions, own.source, own.version) == ("crm", ("crm-hook",), Source.FILE, 0)
    messages = []
    for name in ("erp", "none"):
        with pytest.raises(NotFound) as caught:
            await get_team(context, CRM, name)
        messages.append(str(caught.value).replace(name, "?"))
    assert messages == ['no team "?" (known: crm)'] * 2


@pytest.mark.parametrize("principal", [READER, CRM], ids=["reader", "team"])
async def test_only_admins_of_operators_change_teams(context: Context, principal: Principal, redis: Redis) -> None:
    for call in (
        create_team(context, principal, "ops", ["*"]),
        change_team(context, principal, "crm", topics=["*"]),
        delete_team(context, principal, "crm"),
    ):
        with pytest.raises(Forbidden):
            await call
    assert await redis.keys() == []


async def test_team_of_the_file_cannot_be_made_or_changed(context: Context, redis: Redis) -> None:
    for call in (
        create_team(context, CLI, "crm", ["*"]),
        change_team(context, CLI, "crm", topics=["*"]),
        delete_team(context, CLI, "crm"),
    ):
        with pytest.raises(Conflict, match=r'the team "crm" is in relay.toml; it can only be \w+ there'):
            await call
    assert await redis.keys() == []


async def test_file_wins_over_a_team_of_the_api(context: Context) -> None:
    await create_team(context, CLI, "ops", ["billing"])
    rules = context.settings.relay_config
    rules.write_text(rules.read_text().replace('name = "erp"', 'name = "ops"'))
    ops = await get_team(context, CLI, "ops")
    assert (ops.topics, ops.source) == (("*",), Source.FILE)
    config = await context.config()
    assert granted_topics(config, config.teams_by_name["ops"]) == {"support", "billing"}
    assert granted_topics(config, config.teams_by_name["crm"]) == {"support"}


async def test_team_that_owns_a_token_is_not_deleted(context: Context, redis: Redis) -> None:
    await create_team(context, CLI, "ops", ["billing"])
    new = await tokens.create_token(context, CLI, "ci", team="ops", scopes=[Scope.READ])
    with pytest.raises(Conflict, match=rf"still owns the token {new.token.id} \(ci\); delete or revoke"):
        await delete_team(context, CLI, "ops")
    await tokens.authenticate(context, new.text, "::1")
    await tokens.revoke_token(context, CLI, new.token.id)
    await delete_team(context, CLI, "ops")
    assert not await redis.exists(KEYS.teams, KEYS.tokens, KEYS.tokens_used)


async def test_team_with_pull_groups_or_their_dead_letters_is_not_deleted(context: Context, redis: Redis) -> None:
    await create_team(context, CLI, "ops", ["billing"])
    stream = KEYS.topic("billing")
    await redis.sadd(KEYS.topics, "billing")  # type: ignore[misc]
    entry = await redis.xadd(stream, {"id": "a", "type": "message.received", "at": "1", "version": "v", "body": "{}"})
    for group in ("ops", "ops.a", "opsy"):
        await redis.xgroup_create(stream, group, "0")
    await ask(redis.hset(KEYS.places("billing"), "ops.lost", entry))
    await redis.xadd(KEYS.group_dead("billing", "ops.dead"), {"id": "a", "dead_entry": entry})
    await ask(redis.hset(KEYS.group_letters, "known:billing:ops.dead", "1"))
    owned = ", ".join(f"the pull group billing/{name}" for name in ("ops", "ops.a", "ops.dead", "ops.lost"))
    with pytest.raises(Conflict, match=f"still owns {owned}; delete"):
        await delete_team(context, CLI, "ops")
    for group in ("ops", "ops.a"):
        await groups.delete(context, CLI, "billing", group)
    await redis.delete(KEYS.places("billing"), KEYS.group_dead("billing", "ops.dead"))
    await delete_team(context, CLI, "ops")


async def test_name_that_is_taken_again_gets_nothing_of_the_former_team(context: Context, redis: Redis) -> None:
    """A team of relay.toml that was removed leaves its tokens, its audit and its stored subscriptions."""
    context = replace(context, clock=lambda: time.time() + 60)  # the audit has the time of Redis
    former = Principal("former", "ops", EVERY_SCOPE, frozenset({"billing"}))
    await context.record(former, "subscriptions pause", "theirs")
    begun = context.now_ms - 1000
    left = Token(
        id="0" * 12,
        label="left",
        team="ops",
        scopes=EVERY_SCOPE,
        digest="d",
        created_ms=begun,
        created_by="a",
        expires_ms=None,
    )
    await stored_tokens(redis).add(left.id, left)
    await create_team(context, CLI, "ops", ["billing"])
    assert not await redis.exists(KEYS.tokens)
    await stored_tokens(redis).add(left.id, left)  # one that was made while the team was
    assert await tokens.principal_of(context, left.id, "::1") is None
    new = await tokens.create_token(context, CLI, "ci", team="ops", scopes=EVERY_SCOPE)
    bearer = await tokens.authenticate(context, new.text, "::1")
    assert bearer is not None
    assert not (await search(context, bearer)).items
    assert not [record async for record in export(context, bearer)]
    assert [each.target for each in (await search(context, CLI)).items if each.team == "ops"] == ["theirs"]


async def test_name_of_a_team_whose_subscription_is_left_is_refused(context: Context) -> None:
    await create_team(context, CLI, "ops", ["billing"])
    settings = context.settings.model_copy(update={"relay_secret_key": SecretStr(new_key())})
    context = replace(context, settings=settings, rules=Rules(settings, context.redis))
    table = {"name": "left", "topic": "billing", "team": "ops", "url": "https://ops.example.com/hook"}
    await create(context, CLI, table)
    await stored_teams(context.redis).delete("ops")
    with pytest.raises(Conflict, match=r'a former team "ops" still has the subscriptions left; delete them'):
        await create_team(context, CLI, "ops", ["billing"])


async def test_team_that_owns_a_subscription_keeps_its_topic(context: Context) -> None:
    await create_team(context, CLI, "ops", ["support"])
    config = await context.config()
    owned = config.model_copy(
        update={"subscriptions": (config.subscriptions[0].model_copy(update={"team": "ops", "name": "hook"}),)}
    )
    with pytest.MonkeyPatch.context() as patch:

        async def merged(_: Context) -> object:
            return owned

        patch.setattr(type(context), "config", merged)
        with pytest.raises(Conflict, match='cannot lose topics that its subscriptions need: "support" is delivered'):
            await change_team(context, CLI, "ops", topics=["billing"])
        with pytest.raises(Conflict, match="still owns the subscription hook"):
            await delete_team(context, CLI, "ops")


async def test_mistakes_are_named_together(context: Context, redis: Redis) -> None:
    with pytest.raises(Invalid) as caught:
        await create_team(context, CLI, "o.ps", ["billing", "bill"], "x" * 201)
    assert [problem.place for problem in caught.value.problems] == ["topics[1]", "name", "contact"]
    with pytest.raises(Invalid, match="the list is empty"):
        await create_team(context, CLI, "ops", [])
    assert await redis.keys() == []
