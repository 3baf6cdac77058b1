"""The inbox as the router uses it: read in batches, each moved into topics by a script.

It has no consumer group. There is one router at a time, and routed events leave the inbox, so all its entries are
unrouted: a router that starts, or had an error from Redis, reads from the beginning. The script deletes an entry and
appends it to its topics in one step, skips entries that no longer exist, and refuses a worker that has lost the lease:
each event enters each of its topics exactly once, however often it is read and committed.

The lanes' groups must exist before an event is routed past them. The router that created them sets a mark that names
these lanes (`mark_prepared`); a Redis that is new, lost its data or is a replica that was behind does not have the
mark, and the script moves nothing.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import StoreError
from relay.core.event import Dialect, source_of
from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.driver.scripts import Script
from relay.store.gaps.message_index import HOUR_MS
from relay.store.inbox.reading.hand_over import HandOver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis
    from relay.store.inbox.reading.next_read import NextRead
    from relay.store.keys import Keyspace

    Arguments = Sequence[bytes | str | int]

BEGINNING = b"0"
"""The id before every entry."""

# The limits of a script, in entries and in bytes of bodies: it blocks Redis for about 2 ms
# (7 us for an entry of 1 kB, 28 us for one of 8 kB, Valkey 9 with its append-only file).
_MAX_APPENDED = 256
_MAX_BYTES = 512 * 1024

_API_BYTES = len(b"v3")

_TO_NONE = HandOver({})

_commit = Script(__package__, "route_batch")
_mark_prepared = Script(__package__, "mark_prepared")


class InboxEntry(NamedTuple):
    """An accepted event that is not routed yet."""

    entry: bytes
    dialect: Dialect
    line: str | None
    webhook_id: str
    at: bytes
    """Time of acceptance, Unix milliseconds in digits."""
    body: bytes
    account: str | None = None
    """The account of `[[linq.accounts]]` whose secret verified it."""
    via: bytes = b""
    """The generation of the secret that verified it, and the address from which it came; empty if not known."""
    source: bytes = b""
    """`backfill` for an event that the relay has made of a message at Linq; empty for a webhook that Linq signed."""

    @property
    def at_ms(self) -> int:
        """Time of acceptance, Unix milliseconds; 0 if another client has written something else."""
        return int(self.at) if self.at.isdigit() else 0


class Move(NamedTuple):
    """The destination of an inbox entry: topics, none, or the quarantine."""

    entry: bytes
    topics: Sequence[str]
    fields: Arguments
    """Names and values of the topic entry's fields, flat; only the event type if no topic matches."""
    size: int
    """Size of its body, bytes."""
    quarantined: bool = False
    message: bytes = b""
    """Its key in the message index; empty if it has none."""


class Moved(NamedTuple):
    """The result of a batch; entries that no longer existed are not counted."""

    routed: int
    unmatched: int
    quarantined: int


class Feed(NamedTuple):
    """The arguments of the commit script for a topic."""

    stream: str
    arguments: Arguments
    """Its name, its stream, and the lanes to wake."""
    lanes: Sequence[tuple[str, str]] = ()
    """The lanes, each with the stream."""


class Permit(NamedTuple):
    """The lease and the mark that a commit requires."""

    token: str
    """The router's lease."""
    preparation: str
    """The mark that the lanes are prepared."""


class NotPrepared(StoreError):
    """This Redis does not have the mark: it is new, has lost data, or another router has prepared the lanes since."""

    def __init__(self) -> None:
        super().__init__("the lanes must be prepared again")


class Inbox:
    """The stream of accepted events."""

    def __init__(self, redis: Redis, index_ms: int = 0) -> None:
        """`index_ms` is the life of the message index; with 0, nothing is indexed."""
        self._redis = redis
        self._index_ms = index_ms
        key = redis.key
        self._keys = (
            *(key.inbox, key.counts, key.unmatched, key.quarantine, key.topics, key.queue),
            *(key.lease(wakeups.route(key).job_id), key.prepared),
        )
        self.holding: set[str] = set()
        """Topics of the last commit whose events are held, since their streams were overwritten (`topics.held`)."""

    async def preparation(self) -> str | None:
        """Return the mark of the lanes whose groups exist; None if there is none."""
        mark: bytes | None = await ask(self._redis.get(self._redis.key.prepared))
        return None if mark is None else mark.decode(errors="replace")

    async def mark_prepared(self, preparation: str) -> None:
        """Record that the groups of lanes exist, under the name of all these lanes."""
        await _mark_prepared(self._redis, [self._redis.key.prepared], [preparation])

    async def read(self, count: int, after: bytes = BEGINNING, block_ms: int | None = None) -> list[InboxEntry]:
        """Read at most `count` entries after the id `after`, waiting at most `block_ms` if it is given."""
        reply = await self._redis.xread({self._redis.key.inbox: after}, count=count, block=block_ms)
        return [_entry(entry, fields) for _, rows in reply for entry, fields in rows]

    async def next(self, read: NextRead) -> list[InboxEntry]:
        """Return the entries of the read that was sent with a commit, or of one that is sent now."""
        return [_entry(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in await read.rows()]

    async def commit(
        self,
        parts: Sequence[Arguments],
        permit: Permit,
        now_ms: int,
        hand_over: HandOver = _TO_NONE,
        next_read: NextRead | None = None,
    ) -> Moved:
        """Move entries into their topics, in order; `parts` is the result of `parts_of`.

        `hand_over` has the lanes that take their events at once; those of several parts are not handed over. With
        `next_read`, that read is sent with the last part.

        Raises:
            LeaseLost: another router holds the lease.
            NotPrepared: the lanes must be prepared before any event can be routed.
        """
        self.holding = set()
        if len(parts) == 1:
            return await self._commit(parts[0], permit, now_ms, hand_over, next_read)
        reads = [*[None] * (len(parts) - 1), next_read]
        replies = [
            await self._commit(part, permit, now_ms, _TO_NONE, read) for part, read in zip(parts, reads, strict=True)
        ]
        return Moved(*map(sum, zip(*replies, strict=True)))

    async def _commit(
        self, part: Arguments, permit: Permit, now_ms: int, hand_over: HandOver, next_read: NextRead | None
    ) -> Moved:
        key = self._redis.key
        keys = (*self._keys, key.messages(now_ms // HOUR_MS), key.backfilled)
        arguments = (*permit, now_ms, wakeups.LIFETIME_MS, self._index_ms, *hand_over.arguments, *part)
        if next_read is None:
            reply = await _commit(self._redis, keys, arguments)
        else:
            reply = await _commit.in_order(next_read, keys, arguments)
        if reply == -1:
            raise LeaseLost
        if reply == -2:
            raise NotPrepared
        routed, unmatched, quarantined, holding, given = reply
        self.holding.update(name.decode() for name in holding)
        hand_over.give(given)
        return Moved(routed, unmatched, quarantined)


def parts_of(feeds: Mapping[str, Feed], moves: Sequence[Move]) -> list[Arguments]:
    """Return the commit script's arguments for `moves`, in parts so short that none blocks Redis for long."""
    return [_arguments(feeds, part) for part in _short_parts(moves)]


def _short_parts(moves: Sequence[Move]) -> Iterator[Sequence[Move]]:
    start = appended = size = 0
    for end, move in enumerate(moves):
        copies = len(move.topics) or 1
        appended += copies
        size += copies * move.size
        if (appended > _MAX_APPENDED or size > _MAX_BYTES) and end > start:
            yield moves[start:end]
            start, appended, size = end, copies, copies * move.size
    yield moves[start:]


def _arguments(feeds: Mapping[str, Feed], moves: Sequence[Move]) -> Arguments:
    topics = dict.fromkeys(chain.from_iterable(move.topics for move in moves))
    arguments: list[bytes | str | int] = [b"".join([move.message for move in moves]), len(topics)]
    for name in topics:
        arguments += feeds[name].arguments
    for entry, matched, fields, _, quarantined, _ in moves:
        arguments += (entry, -1 if quarantined else len(matched))
        arguments += [feeds[name].stream for name in matched]
        arguments.append(len(fields))
        arguments += fields
    return arguments


def compile_feeds(config: RelayConfig, key: Keyspace) -> dict[str, Feed]:
    """Return the feed of each topic, by name."""
    return {topic.name: _feed(config, topic.name, key) for topic in config.topics}


def _feed(config: RelayConfig, topic: str, key: Keyspace) -> Feed:
    stream, lanes = key.topic(topic), config.subscriptions_by_topic.get(topic, ())
    arguments: list[bytes | str | int] = [topic, stream, len(lanes)]
    for lane in lanes:
        partition = wakeups.partition_of(lane.name)
        wakeup = wakeups.deliver(key, partition)
        arguments += (lane.name, key.ready(partition), wakeup.job_id, wakeup.payload)
    return Feed(stream, tuple(arguments), [(lane.name, stream) for lane in lanes])


def _entry(entry: bytes, fields: Mapping[bytes, bytes]) -> InboxEntry:
    """Parse an entry; missing fields are empty, so that a foreign entry is quarantined and blocks no other."""
    source = fields.get(b"dialect", b"")
    dialect, account = (Dialect.V2 if source == b"v2" else Dialect.V3), None
    if len(source) > _API_BYTES:
        dialect, account = source_of(source.decode(errors="replace"))
    return InboxEntry(  # by position, which takes half the time of names
        entry,
        dialect,
        fields.get(b"line", b"").decode(errors="replace") or None,
        fields.get(b"webhook_id", b"").decode(errors="replace"),
        fields.get(b"at", b"0"),
        fields.get(b"body", b""),
        account,
        fields.get(b"via", b""),
        fields.get(b"source", b""),
    )
