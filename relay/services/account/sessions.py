"""Sessions of the page: signing in with a token or a single-use code, and the owner of a session."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from relay.core.access.principal import Principal
from relay.core.access.token_text import parse_token
from relay.services.account import tokens
from relay.services.account.teams import find_team, granted_topics
from relay.store import sessions

if TYPE_CHECKING:
    from relay.services.context import Context

_ID_BYTES = 32


async def sign_in(context: Context, text: str, source: str) -> str | None:
    """Open a session for the bearer of a token; return its id, or None if the token is not valid."""
    presented = parse_token(text)
    digest = None if presented is None else presented.digest
    return await _open(context, await tokens.authenticate(context, text, source), digest)


async def sign_in_by_code(context: Context, code: str, source: str) -> str | None:
    """Open a session with a code, which is used up; return its id, or None if the code is unknown, used or too old."""
    return await _open(context, await tokens.redeem_sign_in_code(context, code, source))


async def principal_of(context: Context, session_id: str, source: str) -> Principal | None:
    """Return the owner of a session with its present rights; None if the session or its token has ended."""
    session = await sessions.find(context.redis, session_id)
    return None if session is None else await tokens.principal_of(context, session.token, source, session.digest)


async def of_proxied_user(context: Context, name: str, source: str) -> Principal | None:
    """Return the user whom a trusted proxy names; None if RELAY_PAGE_USERS allows that name nothing."""
    user = context.settings.page_user(name)
    if user is None:
        return None
    if user.team is None:
        return Principal(name, None, frozenset(user.scopes), source=source)
    config = await context.config()
    team = await find_team(context, config, user.team)
    if team is None:
        return None
    return Principal(name, team.name, frozenset(user.scopes), granted_topics(config, team), source)


async def sign_out(context: Context, session_id: str) -> None:
    """End a session."""
    await sessions.end(context.redis, session_id)


async def _open(context: Context, principal: Principal | None, digest: str | None = None) -> str | None:
    if principal is None or principal.token is None:
        return None
    session_id = secrets.token_urlsafe(_ID_BYTES)
    await sessions.save(context.redis, session_id, sessions.Session(principal.token, digest))
    return session_id
