"""Taking work out of Redis as the holder of a lease.

A process that stood still for longer than its lease lasts wakes up believing that it still holds it. What it read then
would be pending with nobody to look after it, since its successor has looked for such entries already. So Redis checks
the lease in the step that reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.errors import StoreError
from relay.store import keys
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    Entry = tuple[bytes, bytes, dict[bytes, bytes]]

_read_new = Script(__package__, "read_new")
_read_left = Script(__package__, "read_left")
_read_due = Script(__package__, "read_due")


class LeaseLost(StoreError):
    """Somebody else holds the lease now."""

    def __init__(self) -> None:
        super().__init__("somebody else holds the lease")


class Claim(NamedTuple):
    """What somebody who takes believes to hold."""

    lease: str
    """The lease's key."""
    token: str
    """An empty one takes only where nobody holds the lease."""


class ReadLimits(NamedTuple):
    """How many entries to take."""

    first: int
    """Of the first stream."""
    room: int = 0
    """Of each further one what those before it have left of this, and at least one."""


async def read_new(redis: Redis, claim: Claim, group: str, streams: Sequence[str], most: ReadLimits) -> list[Entry]:
    """Entries of `streams` that nobody has read yet, each (stream, id, fields).

    Raises:
        LeaseLost: the lease is somebody else's.
        ResponseError: a stream or the group is not there (`is_missing_group`).
    """
    answer: Any = await _read_new(redis, [claim.lease, *streams], [claim.token, group, keys.CONSUMER, *most])
    return _entries(answer)


async def read_left(redis: Redis, claim: Claim, group: str, stream: str, last: str, count: int) -> list[Entry]:
    """Up to `count` entries that nobody has read of a `stream` that the group's lane has left, up to the id `last`.

    Raises:
        LeaseLost: the lease is somebody else's.
    """
    answer: Any = await _read_left(redis, [claim.lease, stream], [claim.token, group, keys.CONSUMER, count, last])
    return _entries(answer)


async def read_due(redis: Redis, claim: Claim, retries: str, now_ms: int, count: int) -> list[bytes]:
    """Up to `count` members of `retries` that are due, the longest due first; they no longer wait.

    Raises:
        LeaseLost: the lease is somebody else's.
    """
    members: Any = await _read_due(redis, [claim.lease, retries], [claim.token, now_ms, count])
    if members == -1:
        raise LeaseLost
    return list(members)


def _entries(answer: Any) -> list[Entry]:
    if answer == -1:
        raise LeaseLost
    return [
        (stream, entry, dict(zip(flat[::2], flat[1::2], strict=True)))
        for stream, rows in answer or ()
        for entry, flat in rows
    ]
