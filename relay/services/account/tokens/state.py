"""Tokens as services show them: without their secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope

if TYPE_CHECKING:
    from relay.store.teams.tokens import Token, Use


@dataclass(frozen=True, slots=True)
class TokenState:
    """A token without its secret; times are Unix milliseconds."""

    id: str
    label: str
    team: str | None
    """None for an operator's."""
    scopes: tuple[Scope, ...]
    state: str
    """`valid`, `expired` or `revoked`."""
    created_ms: int
    created_by: str
    parent: str | None
    """The id of the token that made it; None for the command line."""
    expires_ms: int | None
    """None if it never expires."""
    revoked_ms: int | None
    used_ms: int | None
    """The last use, to the minute; None if it was never used."""
    used_from: str | None
    """The address of the last use."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made or rotated, with its text, which is never shown again."""

    token: TokenState
    text: str = field(repr=False)
    former_until_ms: int | None = None
    """The end of the former secret; None if there is none."""


def state_of(token: Token, use: Use | None, now_ms: int) -> TokenState:
    """Return a token as services show it."""
    return TokenState(
        id=token.id,
        label=token.label,
        team=token.team,
        scopes=tuple(scope for scope in Scope if scope in token.scopes),
        state=validity(token, now_ms),
        created_ms=token.created_ms,
        created_by=token.created_by,
        parent=token.parent,
        expires_ms=token.expires_ms,
        revoked_ms=token.revoked_ms,
        used_ms=use.at_ms if use else None,
        used_from=use.source if use else None,
    )


def described(token: Token) -> str:
    """Return the name of a token and of its bearer, in the audit and in messages."""
    return f"{token.label} ({token.id})"


def validity(token: Token, now_ms: int) -> str:
    """Return `valid`, `expired` or `revoked`."""
    if token.revoked_ms is not None:
        return "revoked"
    return "valid" if token.is_valid(now_ms) else "expired"
