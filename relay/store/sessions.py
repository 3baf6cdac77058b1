"""Sessions of the page: who signed in, by the hash of the session's id, so that a copy of Redis opens none.

A token has a number of them at most: one more ends its oldest.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store.driver.client import ask
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

LIFETIME = 12 * 3600
"""Seconds from signing in to the end of a session."""
MAX_OF_TOKEN = 50

_open = Script(__package__, "session_open")


class Session(NamedTuple):
    """A session."""

    token: str
    """The id of the token that signed in: its rights, and its end, are those of the session."""
    digest: str | None = None
    """That of the secret that signed in: when the token is rotated, the session ends with it. None for a sign-in link,
    and for sessions of older versions.
    """


async def save(redis: Redis, session_id: str, session: Session) -> None:
    """Save a new session; it expires after `LIFETIME`."""
    keys = [_key(redis, session_id), redis.key.sessions_of(session.token)]
    await _open(redis, keys, [session.token, session.digest or "", LIFETIME, MAX_OF_TOKEN])


async def find(redis: Redis, session_id: str) -> Session | None:
    """Return the session with that id; None if it has ended."""
    found: Any = await ask(redis.hgetall(_key(redis, session_id)))
    return Session(found[b"token"].decode(), found.get(b"digest", b"").decode() or None) if b"token" in found else None


async def end(redis: Redis, session_id: str) -> None:
    """End a session."""
    await redis.delete(_key(redis, session_id))


def _key(redis: Redis, session_id: str) -> str:
    return redis.key.session(sha256(session_id.encode()).hexdigest())
