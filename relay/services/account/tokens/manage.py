"""Tokens: making, showing, rotating and revoking them.

A token can never give more than it has: what it makes or rotates has no scope that it lacks, ends with it at the
latest, and is of its own team. Revoking is allowed for every token of the team, and for a token itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.access.token_text import new_token
from relay.core.errors import Conflict, Forbidden, Invalid, NotFound, Problem, TooMany
from relay.services.account.teams import begin_of_team, find_team
from relay.services.account.tokens.state import NewToken, described, state_of, validity
from relay.store.teams.tokens import Token, last_use, last_uses, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.access.principal import Principal
    from relay.services.account.tokens.state import TokenState
    from relay.services.context import Context

DAY = 86_400.0
DEFAULT_LIFETIME = 90 * DAY
"""Seconds until a token expires."""
DEFAULT_OVERLAP = DAY
"""Seconds for which the former secret of a rotated token is still accepted."""
MIN_LIFETIME, MAX_LIFETIME = 60.0, 3650 * DAY
"""Bounds of both, seconds; an overlap may also be 0."""

MAX_LABEL = 64
MAX_TOKENS = 200
"""Valid tokens of a team that its own tokens may make. Those that ended make room, the oldest first, beyond as many."""


async def create_token(  # noqa: PLR0913  what a token has
    context: Context,
    principal: Principal,
    label: str,
    *,
    team: str | None,
    scopes: Iterable[Scope],
    lifetime: float | None = DEFAULT_LIFETIME,
    why: str = "",
) -> NewToken:
    """Create a token of a team, or of operators without one, that expires after `lifetime` seconds, or never.

    It ends with the principal's own token at the latest.

    Raises:
        Forbidden: the principal lacks the scope `admin`, or one that the token would have.
        NotFound: there is no such team.
        Invalid: the label, the scopes or the lifetime are wrong.
        TooMany: the principal is a team's, which has too many.
    """
    principal.require(Scope.ADMIN)
    chosen = frozenset(scopes)
    _check_fields(label, chosen, lifetime)
    if team is None and not principal.is_operator:
        raise Forbidden("a token without a team is an operator's; name your team")
    if team is not None and (
        not principal.owns(team) or await find_team(context, await context.config(), team) is None
    ):
        raise NotFound(f'no team "{team}"')
    expires_ms = await _end_of(context, principal, chosen, lifetime)
    begin_ms = await begin_of_team(context, team) if team is not None else 0
    surplus = [] if principal.is_operator else await _make_room(context, principal)
    secret = new_token()
    token = Token(
        id=secret.id,
        label=label,
        team=team,
        scopes=chosen,
        digest=secret.digest,
        created_ms=max(context.now_ms, begin_ms),  # clocks differ; one from before is of a former team of the name
        created_by=principal.name,
        parent=principal.token,
        expires_ms=expires_ms,
    )
    await context.record(principal, "token create", described(token), why=why)
    if not await tokens(context.redis).add(token.id, token):
        raise Conflict("the new token's id is taken; try again")
    for token_id in surplus:
        await tokens(context.redis).delete(token_id, context.redis.key.tokens_used)
    return NewToken(state_of(token, None, context.now_ms), str(secret))


async def list_tokens(context: Context, principal: Principal, *, team: str | None = None) -> list[TokenState]:
    """Return the tokens that the principal sees, or only those of `team`: valid ones first, then by label.

    Raises:
        Forbidden: the scope `read` is missing.
    """
    principal.require(Scope.READ)
    held = (await tokens(context.redis).all()).values()
    uses = await last_uses(context.redis)
    seen = [token for token in held if principal.owns(token.team) and team in {None, token.team}]
    states = [state_of(token, uses.get(token.id), context.now_ms) for token in seen]
    return sorted(states, key=lambda state: (state.state != "valid", state.team or "", state.label, state.id))


async def get_token(context: Context, principal: Principal, token_id: str) -> TokenState:
    """Return a token of the principal's team; its own needs no scope.

    Raises:
        Forbidden: the scope `read` is missing.
        NotFound: there is no such token.
    """
    if token_id != principal.token:
        principal.require(Scope.READ)
    token = await _owned(context, principal, token_id)
    return state_of(token, await last_use(context.redis, token_id), context.now_ms)


async def revoke_token(context: Context, principal: Principal, token_id: str, why: str = "") -> TokenState:
    """Revoke a token: its next request is refused. A token may revoke itself.

    Raises:
        Forbidden: the scope `admin` is missing.
        NotFound: there is no such token.
    """
    if token_id != principal.token:
        principal.require(Scope.ADMIN)
    token = await _owned(context, principal, token_id)
    if token.revoked_ms is None:
        await context.record(principal, "token revoke", described(token), why=why)

    def revoke(present: Token) -> Token:
        return present if present.revoked_ms else present.model_copy(update={"revoked_ms": context.now_ms})

    revoked = await tokens(context.redis).change(token_id, revoke)
    if revoked is None:
        raise _unknown(token_id)
    return state_of(revoked, await last_use(context.redis, token_id), context.now_ms)


async def rotate_token(
    context: Context,
    principal: Principal,
    token_id: str,
    *,
    overlap: float = DEFAULT_OVERLAP,
    lifetime: float | None = DEFAULT_LIFETIME,
    why: str = "",
) -> NewToken:
    """Give a token a new secret and a new end; the former secret is accepted for `overlap` seconds more.

    It ends with the principal's own token at the latest.

    Raises:
        Forbidden: the principal lacks the scope `admin`, or one that the token has.
        NotFound: there is no such token.
        Conflict: it is expired or revoked.
        Invalid: the overlap or the lifetime is wrong.
    """
    principal.require(Scope.ADMIN)
    _check_seconds("lifetime", lifetime)
    if overlap:
        _check_seconds("overlap", overlap)
    token = await _owned(context, principal, token_id)
    expires_ms = await _end_of(context, principal, token.scopes, lifetime)
    _check_valid(context, token)
    await context.record(principal, "token rotate", described(token), why=why)
    secret = new_token(token_id)

    def rotate(present: Token) -> Token:
        _check_valid(context, present)
        until_ms = context.now_ms + round(overlap * 1000)
        return present.model_copy(
            update={
                "digest": secret.digest,
                "former_digest": present.digest,
                "former_until_ms": until_ms if present.expires_ms is None else min(until_ms, present.expires_ms),
                "expires_ms": expires_ms,
            }
        )

    rotated = await tokens(context.redis).change(token_id, rotate)
    if rotated is None:
        raise _unknown(token_id)
    state = state_of(rotated, await last_use(context.redis, token_id), context.now_ms)
    return NewToken(state, str(secret), rotated.former_until_ms)


async def _make_room(context: Context, principal: Principal) -> list[str]:
    """Return the ids of the team's tokens that ended and make room for a new one.

    Raises:
        TooMany: the team has too many valid ones.
    """
    held = [token for token in (await tokens(context.redis).all()).values() if token.team == principal.team]
    ended = [token for token in held if not token.is_valid(context.now_ms)]
    if len(held) - len(ended) >= MAX_TOKENS:
        raise TooMany(f"the team has {MAX_TOKENS} valid tokens; revoke those that are not used")
    ended.sort(key=lambda token: token.created_ms)
    return [token.id for token in ended[: max(len(ended) - MAX_TOKENS, 0)]]


async def _owned(context: Context, principal: Principal, token_id: str) -> Token:
    token = await tokens(context.redis).get(token_id)
    if token is None or not principal.owns(token.team):
        raise _unknown(token_id)
    return token


async def _end_of(
    context: Context, principal: Principal, scopes: frozenset[Scope], lifetime: float | None
) -> int | None:
    """Return the end of a token that the principal makes: after `lifetime`, but not after its own token.

    Raises:
        Forbidden: the token would have a scope that the principal lacks.
    """
    if more := scopes - principal.scopes:
        raise Forbidden(
            f"a token can grant only the scopes that it has itself; {principal.name} lacks {', '.join(sorted(more))}"
        )
    ends = [] if lifetime is None else [context.now_ms + round(lifetime * 1000)]
    if principal.token is not None:
        own = await tokens(context.redis).get(principal.token)
        if own is None or not own.is_valid(context.now_ms):
            raise Forbidden(f"{principal.name} is not valid any more")
        ends += [] if own.expires_ms is None else [own.expires_ms]
    return min(ends, default=None)


def _check_valid(context: Context, token: Token) -> None:
    if not token.is_valid(context.now_ms):
        raise Conflict(f"{described(token)} is {validity(token, context.now_ms)}; create another one")


def _check_fields(label: str, scopes: frozenset[Scope], lifetime: float | None) -> None:
    problems = []
    if not label.strip() or len(label) > MAX_LABEL or not label.isprintable():
        problems.append(Problem("label", f"write 1 to {MAX_LABEL} printable characters, such as the token's use"))
    if not scopes:
        problems.append(Problem("scopes", f"name at least one of {', '.join(Scope)}"))
    if problems:
        raise Invalid(*problems)
    _check_seconds("lifetime", lifetime)


def _check_seconds(name: str, seconds: float | None) -> None:
    if seconds is not None and not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
        raise Invalid(Problem(name, "it must be from 1m to 3650d"))


def _unknown(token_id: str) -> NotFound:
    return NotFound(f'no token "{token_id}"')
