"""The quarantine: webhooks with a valid signature that cannot be parsed; the response to Linq is 200.

The ingress quarantines a body that is not an envelope; the router quarantines an accepted event that it cannot decode.
Bodies stay until an operator drops them, or retries them with a release that can parse them. Beyond a size that no
legitimate sender reaches, the oldest are dropped and counted.

With several shards, the ingress has no key of a body that it cannot read, so the first shard has it. A retry moves it
to the shard of its key before it enters the inbox there: that shard has the claims on its id.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import StoreUnavailable
from relay.core.event_filter import Candidate
from relay.store import wakeups
from relay.store.driver.client import REDIS_ERRORS, REQUEST_TIMEOUT, ask, describe
from relay.store.driver.replication import Replication
from relay.store.driver.scripts import Script
from relay.store.driver.streams import is_entry_id, pages
from relay.store.sharding.growth.fence import StalePlacement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.store.driver.client import Redis

_PAGE = 50  # bodies of up to 1 MiB each
MAX_BYTES = 256 * 2**20

NOTE = "signed by Linq, but not readable; list it with relay quarantine list, and retry it after an upgrade"
"""The note of the log lines about a quarantined body."""

_put, _drop = Script(__package__, "quarantine_put"), Script(__package__, "quarantine_drop")
_retry, _trim = Script(__package__, "quarantine_retry"), Script(__package__, "quarantine_trim")
_take = Script(__package__, "quarantine_take")


class QuarantinedBody(NamedTuple):
    """A body that could not be parsed."""

    entry: str
    at: int
    """Time of arrival, Unix milliseconds."""
    dialect: str
    """Its API, and its account if that has a name (`source_name`)."""
    line: str | None
    reason: str
    body: bytes

    def as_candidate(self) -> Candidate:
        """Return the fields that a filter can match; the id is the entry's."""
        return Candidate(self.entry, line=self.line, reason=self.reason, at_ms=self.at)


class Readable(NamedTuple):
    """A quarantined body that can be parsed now."""

    entry: str
    event_id: str
    event_type: str
    claim: bytes
    """The claim on the event id (`inbox.claims`)."""


class Quarantine:
    """The stream of quarantined bodies."""

    def __init__(self, redis: Redis, replicas: int = 0) -> None:
        """`replicas` must confirm a body before it counts as stored."""
        self._redis = redis
        self._key = redis.key
        self._replication = Replication.to_replicas(replicas)

    async def put(self, source: str, line: str | None, body: bytes, reason: str, now_ms: int) -> None:
        """Store `body`; `source` is its API and account (`source_name`).

        Raises:
            StoreUnavailable: Redis did not confirm it in time.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                fields = fields_of(source, line, body, reason, now_ms)
                flat = [part for field in fields.items() for part in field]
                await _put(self._redis, [self._key.quarantine, self._key.counts], flat, self._replication)
        except REDIS_ERRORS as error:
            raise StoreUnavailable(f"Redis did not accept the body: {describe(error)}") from error

    async def drop(self, entries: Sequence[str]) -> int:
        """Delete bodies; return the number that still existed."""
        redis_keys = [self._key.quarantine, self._key.counts]
        return sum(
            [await _drop(self._redis, redis_keys, ["quarantine_dropped", *page]) for page in pages(entries, _PAGE)]
        )

    async def retry(
        self, bodies: Sequence[Readable], window_ms: int, now_ms: int, placed_by: int = 1
    ) -> tuple[int, int]:
        """Move bodies to the inbox; return the numbers of accepted events and of duplicates.

        `window_ms` is the dedupe's, `placed_by` the number of shards by which they were placed.

        Raises:
            StalePlacement: events are placed by another number by now; those that are left can be placed again.
        """
        wakeup = wakeups.route(self._key)
        redis_keys = [self._key.quarantine, self._key.inbox, self._key.counts, self._key.queue]
        accepted = duplicates = 0
        for page in pages(bodies, _PAGE):
            arguments: list[bytes | str | int] = [
                *(self._key.seen_prefix, window_ms, now_ms, wakeup.job_id, wakeup.payload, wakeups.LIFETIME_MS),
                placed_by,
                *(part for body in page for part in body),
            ]
            reply = await _retry(self._redis, redis_keys, arguments)
            if not isinstance(reply, list):
                raise StalePlacement(reply)
            new, known = reply
            accepted, duplicates = accepted + new, duplicates + known
        return accepted, duplicates

    async def had_event(self, entry: str) -> bool:
        """Return True if a body was accepted as an event before it was quarantined."""
        rows = await self._redis.xrange(self._key.quarantine, entry, entry)
        return bool(rows) and b"webhook_id" in rows[0][1]

    async def settle_repeat(self, entry: str) -> None:
        """Delete a body whose event was accepted on another shard, as one that was retried."""
        await _drop(self._redis, [self._key.quarantine, self._key.counts], ["quarantine_retried", entry])

    async def move(self, entry: str, shard: Redis) -> str | None:
        """Move a body to the quarantine of another shard; return its id there, None if it is gone.

        It is put there before it is taken here. If that is interrupted both have it, and the second retry is a repeat.
        """
        rows = await self._redis.xrange(self._key.quarantine, entry, entry)
        if not rows:
            return None
        flat = [part for field in rows[0][1].items() for part in field]
        moved: bytes = await _put(shard, [shard.key.quarantine, shard.key.counts], flat)
        await _take(self._redis, [self._key.quarantine, self._key.counts], [entry])
        return moved.decode()

    async def trim(self, others: Sequence[Redis] = (), max_bytes: int = MAX_BYTES) -> int:
        """Delete the oldest bodies beyond `max_bytes`, less what the other shards have of them; return their number.

        An equal share is always left to each: the first shard has nearly all of them, and may use what others do not.
        """
        size, share = await _size(self._redis), max_bytes // (1 + len(others))
        if size <= share:
            return 0
        elsewhere = [await _size_or(share, other) for other in others]
        most = max(share, max_bytes - sum(elsewhere))
        if size <= most:
            return 0
        max_bodies = int(await self._redis.xlen(self._key.quarantine)) * most // size
        return int(await _trim(self._redis, [self._key.quarantine, self._key.counts], [max_bodies]))

    async def all(self) -> AsyncIterator[QuarantinedBody]:
        """Yield every quarantined body, oldest first."""
        start = "-"
        while rows := await self._redis.xrange(self._key.quarantine, start, "+", count=_PAGE):
            for entry, fields in rows:
                yield body_of(entry, fields)
            start = f"({rows[-1][0].decode()}"

    async def get(self, entry: str) -> QuarantinedBody | None:
        """Return the body with that id; None if there is none."""
        if not is_entry_id(entry):
            return None
        rows = await self._redis.xrange(self._key.quarantine, entry, entry)
        return body_of(*rows[0]) if rows else None


async def _size(shard: Redis) -> int:
    """Return the bytes of Redis's memory that the quarantine on a shard takes."""
    return int(await ask(shard.memory_usage(shard.key.quarantine, samples=0)) or 0)


async def _size_or(default: int, shard: Redis) -> int:
    try:
        return await _size(shard)
    except REDIS_ERRORS:  # it is trimmed when it is back
        return default


def body_of(entry: bytes, fields: Mapping[bytes, bytes]) -> QuarantinedBody:
    """Return the body in an entry of the stream."""
    return QuarantinedBody(
        entry=entry.decode(),
        at=int(at) if (at := fields.get(b"at", b"")).isdigit() else 0,  # written by another client
        dialect=fields.get(b"dialect", b"").decode(errors="replace"),
        line=fields.get(b"line", b"").decode(errors="replace") or None,
        reason=fields.get(b"reason", b"").decode(errors="replace"),
        body=fields.get(b"body", b""),
    )


def fields_of(source: str, line: str | None, body: bytes, reason: str, at: bytes | int) -> dict[str, bytes | str | int]:
    """Return the fields of a quarantined body; for an accepted event, the caller adds `webhook_id`."""
    return {"at": at, "dialect": source, "line": line or "", "reason": reason.encode(errors="replace"), "body": body}
