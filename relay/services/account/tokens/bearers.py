"""From the text of a token, a session or a sign-in code to the bearer, with its rights of this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.access.principal import Principal
from relay.core.access.token_text import parse_token
from relay.services.account.teams import granted_topics
from relay.services.account.tokens.manage import MAX_LABEL, create_token
from relay.services.account.tokens.state import described
from relay.store.teams import sign_in
from relay.store.teams.tokens import find_valid

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.teams.tokens import Found

_SESSION_LIFETIME = 12 * 3600.0  # seconds; of a token that is made for a sign-in link


async def authenticate(context: Context, text: str, source: str) -> Principal | None:
    """Return the bearer of a token; None if it is malformed, unknown, expired or revoked.

    One round trip, which also notes the use. `source` is the address of the request.
    """
    presented = parse_token(text)
    if presented is None:
        return None
    found = await find_valid(context.redis, presented.id, presented.digest, source, context.now_ms)
    return None if found is None else await _principal(context, found, source)


async def principal_of(context: Context, token_id: str, source: str, digest: str | None = None) -> Principal | None:
    """Return the bearer of a token that was proved before, such as by a session; None if it is not valid any more.

    `digest` is that of the secret by which it was proved, which a rotation ends; None if it was not by one.
    """
    found = await find_valid(context.redis, token_id, digest, source, context.now_ms)
    return None if found is None else await _principal(context, found, source)


async def sign_in_code(context: Context, principal: Principal) -> str:
    """Return a code that opens one session of the page for the principal, within five minutes.

    A principal without a token, such as the command line, gets one of its rights for half a day.

    Raises:
        Forbidden: it has no token, and may not make one.
    """
    token_id = principal.token
    if token_id is None:
        made = await create_token(
            context,
            principal,
            f"page of {principal.name}"[:MAX_LABEL],
            team=principal.team,
            scopes=principal.scopes,
            lifetime=_SESSION_LIFETIME,
            why="sign-in link",
        )
        token_id = made.token.id
    return await sign_in.new_code(context.redis, token_id)


async def redeem_sign_in_code(context: Context, code: str, source: str) -> Principal | None:
    """Return the bearer of the token of a code, which is used up; None if it is unknown, used, or too old."""
    token_id = await sign_in.redeem(context.redis, code)
    return None if token_id is None else await principal_of(context, token_id, source)


async def _principal(context: Context, found: Found, source: str) -> Principal | None:
    token = found.token
    topics: frozenset[str] = frozenset()
    if token.team is not None:
        config = context.rules.of_file()  # topics and teams of the file: no round trip
        stored = found.team if found.team and found.team.created_ms <= token.created_ms else None
        team = config.teams_by_name.get(token.team) or (stored.team if stored else None)
        if team is None:  # it is in neither place any more, or another team has its name now
            return None
        topics = granted_topics(config, team)
    return Principal(described(token), token.team, token.scopes, topics, source, token.id)
