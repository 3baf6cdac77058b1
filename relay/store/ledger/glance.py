"""The state of many lanes at a glance, in a few round trips: for lists that must not count anything.

What a lane waits for is not read from its streams, but is what makes its ledger balance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import NoPermissionError

from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages
from relay.store.lanes.attempts.log import Condition, health_in, whole_condition
from relay.store.ledger.ledger import LaneState, Owed, ledger_of
from relay.store.ledger.reading import fields_of, streams_in
from relay.store.ledger.whole import of_each, whole_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis

_PAGE = 200  # lanes in one script, which blocks Redis for about 2 ms
_LATEST = 3  # attempts; more failures than these are not needed to call a subscription failing

_read = Script(__package__, "read_lanes")


class Glance(NamedTuple):
    """A lane at a glance."""

    state: LaneState
    condition: Condition


class _Row(NamedTuple):
    """The reply about a lane."""

    fields: Mapping[str, str]
    retrying: int
    dead: int
    blocked: int
    attempts: Sequence[tuple[bytes, Mapping[bytes, bytes]]]

    @property
    def streams(self) -> list[str]:
        """The topic streams that it ever read."""
        return streams_in(self.fields)


async def glance_at(redis: Redis, lanes: Sequence[str]) -> dict[str, Glance | None]:
    """Return the state of each lane, of all shards; None where a key of it is of a wrong type."""
    parts = await of_each(redis, lambda shard: _glance_at(shard, lanes))
    return parts[0] if len(parts) == 1 else {name: whole_glance([part[name] for part in parts]) for name in lanes}


def whole_glance(parts: Sequence[Glance | None]) -> Glance | None:
    """Return a lane at a glance, from those of its lanes on each shard."""
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    return Glance(whole_state([part.state for part in found]), whole_condition([part.condition for part in found]))


async def _glance_at(redis: Redis, lanes: Sequence[str]) -> dict[str, Glance | None]:
    rows: dict[str, _Row | None] = {}
    for names in pages(lanes, _PAGE):
        replies: list[Any] = await _read(redis, [redis.key.lane(name) for name in names], [_LATEST])
        rows |= {name: _row(*reply) if reply else None for name, reply in zip(names, replies, strict=True)}
    streams = dict.fromkeys(stream for row in rows.values() if row for stream in row.streams)
    added = await _entries_added(redis, streams)
    return {name: _glance(name, row, added) if row else None for name, row in rows.items()}


def _row(fields: Sequence[bytes], retrying: int, dead: int, blocked: int, attempts: Sequence[Any]) -> _Row:
    entries = [(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in attempts]
    return _Row(fields_of(fields), retrying, dead, blocked, entries)


async def _entries_added(redis: Redis, streams: Iterable[str]) -> dict[str, int]:
    """Return the number of entries ever added to each stream; those that do not exist are left out."""
    names = list(streams)
    async with redis.pipeline(transaction=False) as pipe:
        for stream in names:
            pipe.xinfo_stream(stream)
        replies: list[Any] = await pipe.execute(raise_on_error=False) if names else []
    for reply in replies:
        if isinstance(reply, NoPermissionError):
            raise reply
    found = zip(names, replies, strict=True)
    return {stream: int(info["entries-added"]) for stream, info in found if not isinstance(info, Exception)}


def _glance(name: str, row: _Row, added: Mapping[str, int]) -> Glance:
    routed = sum(_routed(stream, row.fields, added.get(stream)) for stream in row.streams)
    ledger = ledger_of(name, row.fields, routed, row.retrying, row.dead, ())
    ledger = replace(ledger, waiting=max(ledger.waiting + ledger.imbalance, 0))
    stored = row.fields.get("last_success")
    is_looked_at = bool(ledger.waiting or row.retrying or row.dead) or stored is None
    success = stored.encode() if stored else None
    health = health_in(success, row.attempts[:1] if is_looked_at else ())
    if health.failures:  # else the others need not be decoded
        health = health_in(success, row.attempts)
    owed = tuple(Owed(stream) for stream in ("", *row.streams))
    return Glance(LaneState(ledger, owed, is_exact=False), Condition(health, row.blocked))


def _routed(stream: str, fields: Mapping[str, str], added: int | None) -> int:
    """Return how many entries of a topic's stream were routed to a lane with these fields."""
    if added is None or f"left:{stream}" in fields:
        added = int(fields.get(f"known:{stream}") or 0)
    return added - int(fields.get(f"start:{stream}") or 0)
