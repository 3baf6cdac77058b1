"""A pull group whose members have no connection to Redis: a consumer group of the topic's stream.

Every event that a member gets stays pending until it is acknowledged. The consumer that holds it is named
`relay:http:<visibility timeout>:<member>`, so the group itself says when each event expires: as soon as it has been
pending for the visibility timeout of its consumer. Nothing else is stored, so the members of a group may use different
timeouts, and consumers with a connection (`relay.consumer`) may be members of the same group: theirs expire
`CLAIM_AFTER` after they were renewed last. An event that was handed back belongs to the consumer `RETURNED`, as theirs
do, and is the next one to be delivered.

Where the group resumes is noted in `relay:topic:<topic>:places`, with every batch and every acknowledgement: a group
that was lost is made again there.

An event that was delivered `max_deliveries` times, or that a member rejects, becomes a dead letter of the group
(`dead_letters`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.consumer.names import CLAIM_AFTER, LONG_IDLE_MS, MAX_DELIVERIES, RETURNED
from relay.core.errors import TooMany
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages
from relay.store.isolation import checking_types
from relay.store.topics.record import Record, record_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis

HTTP_PREFIX = "relay:http:"
"""Start of the names of consumers that hold events for members over HTTP."""
PAGE = 250
"""Events of one round trip: reading them blocks Redis for about 1 ms."""
MAX_PENDING = 10_000
"""Events of a group that may be pending; then no new ones are delivered. It keeps the search for expired ones short."""
MAX_GROUPS = 50
"""Groups of a topic that have the same owner, the part of their names before the first dot: Redis tells the groups of a
stream only all together, and does so at every delivery.
"""
ABSENT = "absent"
"""State of a page: there is no such group, and none was to be made."""
MAX_MEMBERS = 200
"""Members of a group, without those that a later delivery removes because they were not used lately."""

_receive = Script(__package__, "receive")
_acknowledge = Script(__package__, "acknowledge")
_hold = Script(__package__, "hold")
_reject = Script(__package__, "reject")


class Limits(NamedTuple):
    """The largest delivery."""

    events: int
    size: int = 4 * 1024 * 1024
    """Bytes; the last events may exceed it."""
    held: int = MAX_PENDING
    """Events that the member may hold, without those that have expired."""
    deliveries: int = MAX_DELIVERIES
    """Deliveries of an event; instead of one more, it becomes a dead letter. 0 is no limit."""
    runs: int = 20
    """Runs of events that are delivered again: it bounds the length of a cursor."""


class Receipt(NamedTuple):
    """The proof that an event was delivered: `<entry>.<number of deliveries>`."""

    entry: str
    deliveries: int

    def __str__(self) -> str:
        return f"{self.entry}.{self.deliveries}"


class Run(NamedTuple):
    """Events that a member got with one answer: `<first entry>_<receipt of the last one>`.

    Nothing between the two can come to the member with another answer, but for the same events: these have more
    deliveries then. Without a first entry it is all that the member has up to the last one.
    """

    last: Receipt
    first: str = ""
    """Its id on the shard of the last one."""
    after: str = ""
    """The position of the group before these, if they are new."""

    def __str__(self) -> str:
        return f"{self.first}_{self.last}" if self.first else str(self.last)


class Delivered(NamedTuple):
    """An event that a member got."""

    record: Record
    deliveries: int
    """The number of times that it was delivered, this one included."""

    @property
    def receipt(self) -> Receipt:
        """Return the proof of this delivery."""
        return Receipt(self.record.entry, self.deliveries)


@dataclass(frozen=True, slots=True)
class Page:
    """The result of one round trip."""

    state: str
    """`joined`, `created` (the group is new) or `restored` (it was lost, and is made again at its last known place); or
    `absent`.
    """
    missed: int
    """Events that were trimmed before the group read them; -1 if at least one was, and the number is not known."""
    trimmed: int
    """Events that were trimmed while they were pending."""
    pending: int
    """Events of the group that are not acknowledged, these included."""
    events: Sequence[Delivered]
    dead: int = 0
    """Events that became dead letters, since they were delivered as often as they may be."""
    held: int = 0
    """Events that the member holds, these included."""
    runs: Sequence[Run] = ()
    """The same events, for a cursor."""


def consumer_of(member: str, visibility: float) -> str:
    """Return the consumer that holds events for a member for `visibility` seconds."""
    return f"{HTTP_PREFIX}{round(visibility * 1000)}:{member}"


class PullGroup:
    """A pull group of a topic."""

    def __init__(self, redis: Redis, topic: str, name: str) -> None:
        self._redis = redis
        self._stream = redis.key.topic(topic)
        self._keys = [self._stream, redis.key.places(topic), redis.key.group_dead(topic, name)]
        self._name = name

    async def receive(self, consumer: str, limits: Limits, *, start: str, unused: float = 0) -> Page:
        """Deliver events to `consumer`, in one round trip.

        A new group begins after the id `start`; if that is empty, none is made. Consumers of members that hold nothing
        and were not used for `unused` seconds are deleted, unless that is 0.

        Raises:
            TooMany: the group would be new and its owner has too many, or the member would be new and the group has.
            WrongType: a key of the topic was overwritten.
        """
        sizes = (min(limits.events, PAGE), limits.size, MAX_PENDING)
        idles = (round(CLAIM_AFTER * 1000), LONG_IDLE_MS // 2)
        rest = (RETURNED, start, round(unused * 1000), limits.held)
        most = (self._name.partition(".")[0], MAX_GROUPS, MAX_MEMBERS, limits.deliveries, _now_ms(), limits.runs)
        reply: Any = await checking_types(
            _receive(self._redis, self._keys, [self._name, consumer, *sizes, *idles, *rest, *most])
        )
        if len(reply) == 1:
            if (what := reply[0].decode()) == ABSENT:
                return Page(ABSENT, 0, 0, 0, ())
            raise self._too_many(what)
        state, missed, trimmed, pending, entries, deliveries, dead, held, runs = reply
        events = [
            Delivered(record_of(entry, dict(zip(flat[::2], flat[1::2], strict=True))), number)
            for (entry, flat), number in zip(entries, deliveries, strict=True)
        ]
        parts = [
            Run(Receipt(last.decode(), number), first.decode(), after.decode()) for first, last, number, after in runs
        ]
        return Page(state.decode(), missed, trimmed, pending, events, dead, held, parts)

    def _too_many(self, things: str) -> TooMany:
        owner, most_groups, most_members = self._name.partition(".")[0], MAX_GROUPS, MAX_MEMBERS
        if things == "groups":
            return TooMany(f'this topic has {most_groups} groups of "{owner}" already; delete one that is not used')
        return TooMany(f'the group "{self._name}" has {most_members} members already; let readers keep their names')

    async def acknowledge(self, entries: Sequence[str]) -> int | None:
        """Acknowledge events, also of other members; return how many were pending, or None if there is no group."""
        count = 0
        for page in pages(entries, PAGE):
            done = await self._acknowledge("ids", *page)
            if done is None:
                return None
            count += done
        return count

    async def acknowledge_runs(self, member: str, runs: Sequence[Run]) -> int | None:
        """Acknowledge the events of these runs that `member` still holds; return how many, or None."""
        parts: list[str | int] = []
        for run in runs:
            parts += (run.first, *run.last) if run.first else ("-", run.last.entry, "")
        return await self._acknowledge("runs", member, *parts)

    async def extend(self, receipts: Sequence[Receipt], visibility: float) -> list[str] | None:
        """Let the events expire `visibility` seconds from now; return those that were extended, or None.

        An event that was acknowledged, or delivered again since, is left alone.
        """
        return await self._hold_for(round(visibility * 1000), receipts)

    async def release(self, receipts: Sequence[Receipt], *, counts: bool = True) -> list[str] | None:
        """Hand the events back, to be delivered next; return those that were, or None if there is no such group.

        Without `counts`, this delivery is not counted.
        """
        return await self._hold_for(0, receipts, counts=counts)

    async def reject(self, receipts: Sequence[Receipt], error: str) -> list[str] | None:
        """Make the events dead letters of the group; return those that are, or None if there is no such group."""
        rejected: list[str] = []
        for page in pages(receipts, PAGE):
            arguments = [self._name, error, _now_ms(), *(part for receipt in page for part in receipt)]
            done: list[bytes] | None = await checking_types(_reject(self._redis, self._keys, arguments))
            if done is None:
                return None
            rejected += (entry.decode() for entry in done)
        return rejected

    async def _acknowledge(self, *arguments: str | int) -> int | None:
        done: int = await checking_types(_acknowledge(self._redis, self._keys[:2], [self._name, *arguments]))
        return None if done < 0 else done

    async def _hold_for(
        self, visibility_ms: int, receipts: Sequence[Receipt], *, counts: bool = True
    ) -> list[str] | None:
        held: list[str] = []
        for page in pages(receipts, PAGE):
            rest = [part for receipt in page for part in receipt]
            arguments = [self._name, visibility_ms, RETURNED, LONG_IDLE_MS, int(not counts), *rest]
            done: list[bytes] | None = await checking_types(_hold(self._redis, self._keys[:1], arguments))
            if done is None:
                return None
            held += (entry.decode() for entry in done)
        return held


def _now_ms() -> int:
    return round(time.time() * 1000)
