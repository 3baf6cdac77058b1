"""Tokens: digests of their secrets, with what each may do and until when, and when each was last used."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from relay.core.access.scopes import Scope
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.teams.records import Record, Records
from relay.store.teams.teams import StoredTeam

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

USED_INTERVAL_MS = 60_000
"""Milliseconds for which a use of a token is not noted again."""

_look_up = Script(__package__, "token_look_up")


class Token(Record):
    """A token; times are Unix milliseconds."""

    id: str
    label: str
    team: str | None
    """None for an operator's."""
    scopes: frozenset[Scope]
    digest: str
    """SHA-256 of the secret, in hexadecimal."""
    former_digest: str | None = None
    """The secret before the last rotation."""
    former_until_ms: int = 0
    """The end of that secret."""
    created_ms: int
    created_by: str
    parent: str | None = None
    """The id of the token that made it; None for the command line."""
    expires_ms: int | None
    """None if it never expires."""
    revoked_ms: int | None = None

    def is_valid(self, now_ms: int) -> bool:
        """Return True if it is neither revoked nor expired."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)

    def is_secret(self, digest: str, now_ms: int) -> bool:
        """Return True if `digest` is that of its secret, or of the former one in its last time; in constant time."""
        is_former = compare_digest(self.former_digest or "", digest) and now_ms < self.former_until_ms
        return compare_digest(self.digest, digest) or is_former


class Use(NamedTuple):
    """The last use of a token, to the minute."""

    at_ms: int
    source: str
    """The address from which the request came."""


class Found(NamedTuple):
    """A token that may be used now, and its team as it is stored."""

    token: Token
    team: StoredTeam | None
    """None if the API did not make it: it may be in relay.toml."""


def tokens(redis: Redis) -> Records[Token]:
    """Return the tokens by id; revoked and expired ones stay until their team is deleted."""
    return Records(redis, redis.key.tokens, Token)


async def find_valid(redis: Redis, token_id: str, digest: str | None, source: str, now_ms: int) -> Found | None:
    """Return a token that is valid now, in one round trip that also notes its use; None if there is none.

    `digest` is that of the secret that was presented; with None it was proved before, such as by a session.
    """
    keys = [redis.key.tokens, redis.key.teams, redis.key.tokens_used]
    row, team = await _look_up(redis, keys, [token_id, digest or "", now_ms, USED_INTERVAL_MS, source])
    token = None if row is None else Token.of(row)
    if token is None or not token.is_valid(now_ms) or (digest is not None and not token.is_secret(digest, now_ms)):
        return None
    return Found(token, None if team is None else StoredTeam.of(team))


async def last_uses(redis: Redis) -> dict[str, Use]:
    """Return the last use of each token that was used."""
    rows: dict[bytes, bytes] = await ask(redis.hgetall(redis.key.tokens_used))
    return {name.decode(): _use(row.decode()) for name, row in rows.items()}


async def last_use(redis: Redis, token_id: str) -> Use | None:
    """Return the last use of a token; None if it was never used."""
    row: bytes | None = await ask(redis.hget(redis.key.tokens_used, token_id))  # type: ignore[arg-type]
    return None if row is None else _use(row.decode())


def _use(text: str) -> Use:
    at_ms, _, source = text.partition(" ")
    return Use(int(at_ms), source)
