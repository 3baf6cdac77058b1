"""Reads from Redis that are fenced by a lease.

A worker that was stopped for longer than its lease lasts resumes and assumes that it still has the lease. Entries that
it read then would stay pending without an owner, since its successor has already checked for orphans. So Redis checks
the fencing token in the step that reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.errors import StoreError
from relay.store import keys
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis

    Entry = tuple[bytes, bytes, dict[bytes, bytes]]

_read_new = Script(__package__, "read_new")
_read_left = Script(__package__, "read_left")
_read_due = Script(__package__, "read_due")


class LeaseLost(StoreError):
    """Another worker holds the lease now."""

    def __init__(self) -> None:
        super().__init__("another worker holds the lease")


class Claim(NamedTuple):
    """The lease that a worker expects to have."""

    lease: str
    """The lease's key."""
    token: str
    """The fencing token; an empty one reads only while the lease is free."""


class ReadLimits(NamedTuple):
    """The largest number of entries to read."""

    first: int
    """Of the first stream."""
    total: int = 0
    """Of all streams together, though each further stream yields at least one entry."""


async def read_new(redis: Redis, claim: Claim, group: str, streams: Sequence[str], limits: ReadLimits) -> list[Entry]:
    """Read new entries of `streams`, each (stream, id, fields).

    Raises:
        LeaseLost: another worker holds the lease.
        ResponseError: a stream or the group does not exist (`is_missing_group`).
    """
    reply: Any = await _read_new(redis, [claim.lease, *streams], [claim.token, group, keys.CONSUMER, *limits])
    return entries_in(reply)


async def read_left(redis: Redis, claim: Claim, group: str, stream: str, last: str, count: int) -> list[Entry]:
    """Read at most `count` new entries of a `stream` that the lane has left, up to the id `last`.

    Raises:
        LeaseLost: another worker holds the lease.
    """
    reply: Any = await _read_left(redis, [claim.lease, stream], [claim.token, group, keys.CONSUMER, count, last])
    return entries_in(reply)


async def read_due(redis: Redis, claim: Claim, retries: str, now_ms: int, count: int) -> list[bytes]:
    """Remove and return at most `count` members of `retries` that are due, the longest due first.

    Raises:
        LeaseLost: another worker holds the lease.
    """
    members: Any = await _read_due(redis, [claim.lease, retries], [claim.token, now_ms, count])
    if members == -1:
        raise LeaseLost
    return list(members)


def entries_in(reply: Any) -> list[Entry]:
    """Return the entries in the replies of XREADGROUP.

    Raises:
        LeaseLost: the script has returned -1 in their place.
    """
    if reply == -1:
        raise LeaseLost
    return [
        (stream, entry, dict(zip(flat[::2], flat[1::2], strict=True)))
        for stream, rows in reply or ()
        for entry, flat in rows
    ]
