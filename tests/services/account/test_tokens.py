"""Tokens: valid ones have their bearer, all others are alike; no token can give more than it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.core.access.token_text import new_token
from relay.core.errors import Conflict, Forbidden, Invalid, NotFound
from relay.services.account import tokens
from relay.services.account.audit import search
from relay.services.account.teams import change_team, create_team
from relay.store import audit
from relay.store.teams.tokens import USED_INTERVAL_MS
from relay.store.teams.tokens import tokens as stored_tokens
from tests.support import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from tests.support import Clock

CLI = Principal("ann@host", None, EVERY_SCOPE)
FROM = "203.0.113.7"
HOUR, DAY = 3600.0, 86_400.0


async def made(
    context: Context, *scopes: Scope, team: str | None = "crm", lifetime: float | None = DAY, by: Principal = CLI
) -> str:
    """Return the text of a new token."""
    new = await tokens.create_token(context, by, "ci", team=team, scopes=scopes or [Scope.READ], lifetime=lifetime)
    return new.text


async def bearer(context: Context, *scopes: Scope, team: str | None = "crm", lifetime: float | None = DAY) -> Principal:
    """Return the bearer of a new token."""
    found = await tokens.authenticate(context, await made(context, *scopes, team=team, lifetime=lifetime), FROM)
    assert found is not None
    return found


# --- authentication -------------------------------------------------------------------------------


async def test_bearer_has_the_rights_of_this_moment(context: Context) -> None:
    text = await made(context, Scope.READ, Scope.REPLAY)
    found = await tokens.authenticate(context, text, FROM)
    token_id = text.split("_")[1]
    assert found == Principal(
        f"ci ({token_id})", "crm", frozenset({Scope.READ, Scope.REPLAY}), frozenset({"support"}), FROM, token_id
    )
    everything = await bearer(context, team="erp")
    assert everything.topics == {"support", "billing"}
    operator = await bearer(context, team=None)
    assert operator.is_operator
    assert operator.sees_topic("billing")


async def test_token_that_is_not_valid_has_no_bearer(context: Context, redis: Redis, now: Clock) -> None:
    text = await made(context, lifetime=HOUR)
    prefix, token_id, secret = text.split("_")
    others = [
        "",
        "lrt_",
        "Bearer " + text,
        text[:-1],
        text[:-6] + "000000",  # wrong checksum
        str(new_token()),  # another relay's
        str(new_token(token_id)),  # the id with another secret
        text.replace(token_id, new_token().id),
        f"{prefix}_{token_id}_{secret.swapcase()}",
    ]
    assert [await tokens.authenticate(context, other, FROM) for other in others] == [None] * len(others)
    assert not await redis.exists(KEYS.tokens_used)
    assert await tokens.authenticate(context, text, FROM)
    now.now += HOUR
    assert await tokens.authenticate(context, text, FROM) is None


async def test_revoked_token_is_refused_at_once_and_for_ever(context: Context) -> None:
    text = await made(context)
    user = await tokens.authenticate(context, text, FROM)
    assert user is not None
    assert user.token is not None
    revoked = await tokens.revoke_token(context, CLI, user.token, "leaked")
    assert revoked.state == "revoked"
    assert await tokens.authenticate(context, text, FROM) is None
    assert await tokens.principal_of(context, user.token, FROM) is None
    with pytest.raises(Conflict, match="is revoked"):
        await tokens.rotate_token(context, CLI, user.token)
    assert (await tokens.revoke_token(context, CLI, user.token)).revoked_ms == revoked.revoked_ms
    commands = [(record.command, record.why) async for record in audit.records(context.redis)]
    assert commands == [("token revoke", "leaked"), ("token create", "")]


async def test_damaged_record_is_no_token(context: Context, redis: Redis) -> None:
    text = await made(context)
    for row in (b"not JSON", b"[]", b"{}", b'{"digest":"","expires_ms":"later"}'):
        await redis.hset(KEYS.tokens, text.split("_")[1], row)  # type: ignore[misc,arg-type]
        assert await tokens.authenticate(context, text, FROM) is None


async def test_redis_has_no_secret(context: Context, redis: Redis) -> None:
    text = await made(context)
    code = await tokens.sign_in_code(context, await bearer(context))
    for key in await redis.keys():
        dump = await redis.dump(key)
        assert text.split("_")[2][:32].encode() not in dump + key
        assert code.encode() not in dump + key


async def test_use_is_noted_at_most_once_a_minute(context: Context, now: Clock) -> None:
    text = await made(context)
    token_id = text.split("_")[1]
    uses = []
    for source, seconds in ((FROM, 0.0), ("::1", 59.0), ("::1", 1.0)):
        now.now += seconds
        await tokens.authenticate(context, text, source)
        state = await tokens.get_token(context, CLI, token_id)
        uses.append((state.used_ms, state.used_from))
    first = round((now.now - 60) * 1000)
    assert uses == [(first, FROM), (first, FROM), (first + USED_INTERVAL_MS, "::1")]


async def test_authentication_costs_one_round_trip(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    await create_team(context, CLI, "ops", ["billing"])
    texts = [await made(context, team=team) for team in (None, "crm", "ops")]
    await tokens.authenticate(context, texts[0], FROM)  # Redis has the script now
    pool = context.redis.connection_pool
    take, taken = pool.get_connection, 0

    async def counted(*given: object, **named: object) -> object:
        nonlocal taken
        taken += 1
        return await take(*given, **named)

    monkeypatch.setattr(pool, "get_connection", counted)
    assert all([await tokens.authenticate(context, text, FROM) for text in texts])
    assert taken == len(texts)


async def test_change_of_the_rules_changes_the_bearer(context: Context) -> None:
    text = await made(context)
    rules = context.settings.relay_config
    rules.write_text(rules.read_text().replace('topics = ["support"]', 'topics = ["support", "billing"]'))
    found = await tokens.authenticate(context, text, FROM)
    assert found is not None
    assert found.topics == {"support", "billing"}
    _without_team(rules, "crm")
    assert await tokens.authenticate(context, text, FROM) is None


async def test_team_of_the_api_is_read_with_the_token(context: Context) -> None:
    await create_team(context, CLI, "ops", ["billing"])
    text = await made(context, team="ops")
    found = await tokens.authenticate(context, text, FROM)
    assert found is not None
    assert found.topics == {"billing"}
    await change_team(context, CLI, "ops", topics=["support"])
    found = await tokens.authenticate(context, text, FROM)
    assert found is not None
    assert found.topics == {"support"}
    rules = context.settings.relay_config
    rules.write_text(rules.read_text().replace('name = "erp"', 'name = "ops"'))  # the file wins
    found = await tokens.authenticate(context, text, FROM)
    assert found is not None
    assert found.topics == {"support", "billing"}


def _without_team(rules: Path, name: str) -> None:
    text = rules.read_text().replace(f'team = "{name}"', "")
    before, _, after = text.partition(f'[[teams]]\nname = "{name}"')
    rules.write_text(before + after[after.index("[[teams]]") :])


# --- rotation -------------------------------------------------------------------------------------


async def test_former_secret_is_accepted_for_the_overlap(context: Context, now: Clock) -> None:
    former = await made(context)
    token_id = former.split("_")[1]
    new = await tokens.rotate_token(context, CLI, token_id, overlap=HOUR, lifetime=2 * DAY)
    assert new.text.split("_")[1] == token_id
    assert [bool(await tokens.authenticate(context, text, FROM)) for text in (former, new.text)] == [True, True]
    now.now += HOUR
    assert [bool(await tokens.authenticate(context, text, FROM)) for text in (former, new.text)] == [False, True]
    now.now += DAY  # the former end has passed
    assert await tokens.authenticate(context, new.text, FROM)
    newest = await tokens.rotate_token(context, CLI, token_id, overlap=0)
    assert await tokens.authenticate(context, new.text, FROM) is None
    assert await tokens.authenticate(context, newest.text, FROM)


async def test_rotation_does_not_undo_a_revocation(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    token_id = (await made(context)).split("_")[1]
    recorded = type(context).record

    async def revoke_meanwhile(*_: object, **__: object) -> None:
        monkeypatch.setattr(type(context), "record", recorded)
        await tokens.revoke_token(context, CLI, token_id)

    monkeypatch.setattr(type(context), "record", revoke_meanwhile)
    with pytest.raises(Conflict, match="is revoked"):
        await tokens.rotate_token(context, CLI, token_id)
    assert (await tokens.get_token(context, CLI, token_id)).state == "revoked"


# --- an admin of a team ---------------------------------------------------------------------------


async def test_admin_of_a_team_manages_its_tokens_only(context: Context) -> None:
    admin = await bearer(context, Scope.ADMIN, Scope.READ)
    foreign = [(await made(context, team="erp")).split("_")[1], (await made(context, team=None)).split("_")[1], "none"]
    for token_id in foreign:
        for call in (tokens.get_token, tokens.revoke_token, tokens.rotate_token):
            with pytest.raises(NotFound, match=f'^no token "{token_id}"$'):
                await call(context, admin, token_id)
    for team in ("erp", "none"):
        with pytest.raises(NotFound, match=f'^no team "{team}"$'):
            await made(context, team=team, by=admin)
    assert [state.id for state in await tokens.list_tokens(context, admin)] == [admin.token]
    assert await tokens.list_tokens(context, admin, team="erp") == []
    made_by_it = await tokens.create_token(context, admin, "new", team="crm", scopes=[Scope.READ])
    assert made_by_it.token.parent == admin.token
    await tokens.revoke_token(context, admin, made_by_it.token.id)
    [newest, *_] = (await search(context, admin)).items
    assert (newest.who, newest.source, newest.team) == (admin.name, FROM, "crm")
    assert {record.team for record in (await search(context, CLI)).items} == {None, "crm"}
    assert {record.team for record in (await search(context, admin)).items} == {"crm"}
    assert (await search(context, admin, team="erp")).items == ()


async def test_admin_of_a_team_cannot_escalate(context: Context) -> None:
    admin = await bearer(context, Scope.ADMIN, Scope.READ, lifetime=HOUR)
    stronger = await bearer(context, *EVERY_SCOPE)
    assert stronger.token is not None
    with pytest.raises(Forbidden, match="lacks replay"):
        await made(context, Scope.READ, Scope.REPLAY, by=admin)
    with pytest.raises(Forbidden, match="an operator's"):
        await made(context, team=None, by=admin)
    with pytest.raises(Forbidden, match="lacks replay, subscribe"):
        await tokens.rotate_token(context, admin, stronger.token)
    end = (await tokens.get_token(context, CLI, str(admin.token))).expires_ms
    for lifetime in (90 * DAY, None):
        new = await tokens.create_token(context, admin, "new", team="crm", scopes=[Scope.ADMIN], lifetime=lifetime)
        assert new.token.expires_ms == end
        assert (await tokens.rotate_token(context, admin, new.token.id, lifetime=lifetime)).token.expires_ms == end
        assert (await tokens.rotate_token(context, admin, str(admin.token), lifetime=lifetime)).token.expires_ms == end
    for operation in (create_team(context, admin, "x", ["support"]), change_team(context, admin, "crm", contact="x")):
        with pytest.raises(Forbidden, match="for operators"):
            await operation
    await tokens.revoke_token(context, CLI, str(admin.token))
    with pytest.raises(Forbidden, match="not valid any more"):
        await made(context, by=admin)


async def test_other_scopes_manage_nothing_but_themselves(context: Context) -> None:
    user = await bearer(context, Scope.READ, Scope.SUBSCRIBE, Scope.REPLAY)
    other = str((await bearer(context)).token)
    calls = (
        made(context, by=user),
        tokens.rotate_token(context, user, other),
        tokens.rotate_token(context, user, str(user.token)),
        tokens.revoke_token(context, user, other),
    )
    for call in calls:
        with pytest.raises(Forbidden, match='needs the scope "admin"'):
            await call
    assert (await tokens.revoke_token(context, user, str(user.token))).state == "revoked"


@pytest.mark.parametrize(
    ("label", "scopes", "lifetime", "problem"),
    [
        (" ", [Scope.READ], DAY, "label: "),
        ("a\nb", [Scope.READ], DAY, "label: "),
        ("x" * 65, [], DAY, "label: .*; scopes: name at least one of read, subscribe, replay, admin"),
        ("ci", [Scope.READ], 1.0, "lifetime: it must be from 1m to 3650d"),
        ("ci", [Scope.READ], float("nan"), "lifetime: "),
    ],
)
async def test_mistakes_are_named(
    context: Context, label: str, scopes: list[Scope], lifetime: float, problem: str
) -> None:
    with pytest.raises(Invalid, match=f"^{problem}"):
        await tokens.create_token(context, CLI, label, team="crm", scopes=scopes, lifetime=lifetime)
    assert await stored_tokens(context.redis).all() == {}


# --- sign-in codes --------------------------------------------------------------------------------


async def test_code_signs_in_once(context: Context, redis: Redis) -> None:
    user = await bearer(context, Scope.READ)
    code = await tokens.sign_in_code(context, user)
    [key] = await redis.keys(f"{KEYS.prefix}:signin:*")
    assert 0 < await redis.pttl(key) <= 300_000
    assert await tokens.redeem_sign_in_code(context, "another", FROM) is None
    assert await tokens.redeem_sign_in_code(context, code, FROM) == user
    assert await tokens.redeem_sign_in_code(context, code, FROM) is None
    revoked = await tokens.sign_in_code(context, user)
    await tokens.revoke_token(context, CLI, str(user.token))
    assert await tokens.redeem_sign_in_code(context, revoked, FROM) is None


async def test_code_of_the_command_line_has_a_token_of_half_a_day(context: Context, now: Clock) -> None:
    found = await tokens.redeem_sign_in_code(context, await tokens.sign_in_code(context, CLI), FROM)
    assert found is not None
    assert (found.team, found.scopes, found.source) == (None, EVERY_SCOPE, FROM)
    assert (await tokens.get_token(context, CLI, str(found.token))).expires_ms == round((now.now + DAY / 2) * 1000)
