"""What a token that leaked, or a team that floods, cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import TooMany
from relay.services.account import sessions, tokens
from relay.services.account.tokens import manage
from tests.services.account.test_tokens import CLI, FROM, bearer, made

if TYPE_CHECKING:
    from relay.services.context import Context
    from tests.support import Clock


async def test_team_makes_a_bounded_number_of_tokens(
    context: Context, now: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manage, "MAX_TOKENS", 2)
    owner = await bearer(context, *EVERY_SCOPE)
    first = await made(context, by=owner)
    with pytest.raises(TooMany, match="2 valid tokens"):
        await made(context, by=owner)
    ended = [first]
    for _ in range(4):
        now.now += 1
        await tokens.revoke_token(context, owner, ended[-1].split("_")[1])
        ended.append(await made(context, by=owner))
    held = await tokens.list_tokens(context, owner)
    assert [state.state for state in held].count("valid") == 2
    assert len(held) <= 5
    assert first.split("_")[1] not in {state.id for state in held}  # the oldest made room
    assert await made(context, team="erp")  # others, and operators, are not concerned
    assert await made(context)


async def test_session_ends_with_the_secret_that_opened_it(context: Context, now: Clock) -> None:
    text = await made(context, *EVERY_SCOPE)
    session = await sessions.sign_in(context, text, FROM)
    assert session is not None
    rotated = await tokens.rotate_token(context, CLI, text.split("_")[1], overlap=60)
    assert await sessions.principal_of(context, session, FROM) is not None
    now.now += 61
    assert await sessions.principal_of(context, session, FROM) is None
    newer = await sessions.sign_in(context, rotated.text, FROM)
    assert newer is not None
    assert await sessions.principal_of(context, newer, FROM) is not None
