"""The ledger: for every subscription, the state of all events that were routed to it. It must balance.

    routed + repeated + from_history = delivered + filtered + waiting + retrying + dead + dropped + discarded
        + lost

The routed and the waiting events are read from the streams; the settled ones are counted in the step that settles them.
Each row is read in one script, so it also balances while the relay works.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.store import keys
from relay.store.driver.client import ask, ask_together
from relay.store.driver.streams import count_between, lag_in, pages
from relay.store.isolation import wrong_keys
from relay.store.lanes.position import lane_names
from relay.store.ledger.reading import read_lanes
from relay.store.ledger.whole import whole_states, whole_totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis
    from relay.store.ledger.reading import LaneReply, StreamReply

_PAGE = 200  # lanes: their script blocks Redis for about 2 ms


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals over all webhooks."""

    accepted: int
    duplicate: int
    quarantined: int
    """The number of bodies ever quarantined."""
    routed: int
    unmatched: int
    inbox: int
    """The number of accepted events that are not yet routed."""
    poisoned: int = 0
    """The number of quarantined bodies that had been accepted, and failed to decode when they were routed."""
    quarantine_dropped: int = 0
    """The number of quarantined bodies that an operator dropped, or that exceeded the limit."""

    lost: int = 0
    """The number of accepted events that were deleted from the inbox before they were routed."""

    @property
    def balances(self) -> bool:
        """True if every accepted event is routed, unmatched, quarantined, lost, or still in the inbox."""
        return not self.imbalance

    @property
    def imbalance(self) -> int:
        """The number of accepted events that are not accounted for; negative if more are than were accepted."""
        return self.accepted - self.routed - self.unmatched - self.poisoned - self.lost - self.inbox


@dataclass(frozen=True, slots=True)
class LaneLedger:
    """The ledger of one subscription."""

    subscription: str
    routed: int
    delivered: int
    waiting: int
    """The number of deliveries without a finished attempt."""
    retrying: int
    dead: int
    replayed: int
    """The number of events ever replayed: dead letters and a topic's history; for information."""
    filtered: int = 0
    """The number of events that the subscription's filter excluded."""
    dropped: int = 0
    """The number of dead letters, and of events of a topic, that an operator dropped."""
    discarded: int = 0
    """The number of dead letters that were deleted beyond the bounds of the subscription (`dead`)."""
    repeated: int = 0
    """The number of events that were given to the lane again, because something of its state was deleted."""
    lost: int = 0
    """The number of events that were deleted before they were delivered: of the topic, replays or dead letters."""
    from_history: int = 0
    """The number of replayed events that came from a topic's history, in addition to the routed ones."""
    shadow_of: str | None = None
    """The subscription that it shadows; None if it is no shadow, or was not asked for."""
    fault: str = ""
    """The reason why the ledger cannot be read, such as a key of a wrong type; empty if it can."""

    @property
    def balances(self) -> bool:
        """True if every routed event is accounted for."""
        return not self.fault and not self.imbalance

    @property
    def imbalance(self) -> int:
        """The number of events that are not accounted for; negative if more are than were routed."""
        settled = self.delivered + self.filtered + self.dead + self.dropped + self.discarded + self.lost
        return self.routed + self.repeated + self.from_history - settled - self.waiting - self.retrying


class Owed(NamedTuple):
    """Events that a lane is owed of a stream: the entries after its position, and those that it has read."""

    stream: str
    position: str = ""
    """The last entry that it has read; empty if it does not read the stream."""
    first: str = ""
    """The first entry of the stream; empty if it has none."""
    end: str = ""
    """The last entry that it is owed."""
    unread: int | None = 0
    """The number of entries after its position; None if it is not known."""
    pending: int = 0
    """The number of entries that it has read and that are not settled."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """The ledger of a subscription, and what it is owed of each stream."""

    ledger: LaneLedger
    owed: tuple[Owed, ...] = ()
    """Its replay stream first; none if the ledger has a fault."""
    is_exact: bool = True
    """False if there was no time to count the waiting events: they are then what makes the ledger balance."""


class Ledger:
    """The counters of all webhooks and subscriptions: of a shard, or with the client of the first one of all."""

    def __init__(self, redis: Redis, *, is_part: bool = False) -> None:
        """`is_part` reads the first shard alone."""
        self._redis = redis
        self._key = redis.key
        self._parts = () if is_part or not redis.others else [Ledger(each, is_part=True) for each in redis.shards]

    async def totals(self) -> Totals:
        """Return the totals over all webhooks."""
        if self._parts:
            return whole_totals(await asyncio.gather(*(part.totals() for part in self._parts)))

        def queue(pipe: Pipeline) -> None:
            pipe.hgetall(self._key.counts)
            pipe.xlen(self._key.inbox)

        rows, inbox = await ask_together(self._redis, queue)
        counts = {name.decode(): int(value) for name, value in rows.items()}
        counted = [field.name for field in dataclasses.fields(Totals) if field.name != "inbox"]
        return Totals(inbox=inbox, **{name: counts.get(name, 0) for name in counted})

    async def unmatched(self) -> dict[str, int]:
        """Return the number of events that matched no topic, by type."""
        if self._parts:
            found = await asyncio.gather(*(part.unmatched() for part in self._parts))
            types = sorted({name for part in found for name in part})
            return {name: sum(part.get(name, 0) for part in found) for name in types}
        rows = await ask(self._redis.hgetall(self._key.unmatched))
        return {name.decode(): int(value) for name, value in sorted(rows.items())}

    async def lanes(self) -> list[LaneLedger]:
        """Return the ledger of every subscription that ever had a lane."""
        return [state.ledger for state in await self.states()]

    async def states(self, count_timeout: float | None = None, lanes: Sequence[str] | None = None) -> list[LaneState]:
        """Return the state of `lanes` (None: every lane), a page of them as of one moment.

        Redis's own number of unread entries (`lag`) is an estimate: Redis 7.0 gets it wrong when it loads its
        append-only file. It is used if the counters of the lane confirm it; else the entries are counted, for
        `count_timeout` seconds in all (None: until they are; 0: not at all).
        """
        until = None if count_timeout is None else asyncio.get_running_loop().time() + count_timeout
        names = await lane_names(self._redis) if lanes is None else sorted(lanes)
        if self._parts:
            return whole_states(await asyncio.gather(*(part.states(count_timeout, names) for part in self._parts)))
        return [state for page in pages(names, _PAGE) for state in await self._page(page, until)]

    async def _page(self, names: Sequence[str], until: float | None) -> list[LaneState]:
        lanes, streams = await read_lanes(self._redis, names)
        return [
            await self._state(name, lane, [streams[stream] for stream in lane.streams], until)
            for name, lane in lanes.items()
        ]

    async def _state(self, name: str, lane: LaneReply, topics: Sequence[StreamReply], until: float | None) -> LaneState:
        streams = [lane.replay, *topics]
        if lane.has_wrong_type or any(stream.has_wrong_type for stream in streams):
            return LaneState(await self._faulty(name, streams))
        group = keys.push_group(name)
        owed = [_owed(stream, group, lane.fields.get(f"left:{stream.stream}")) for stream in streams]
        routed = sum(_routed(stream, lane.fields) for stream in topics)
        ledger = ledger_of(name, lane.fields, routed, lane.retrying, lane.dead, owed)
        if all(part.unread is not None for part in owed) and ledger.balances:
            return LaneState(ledger, tuple(owed))
        try:
            if until is not None and until <= asyncio.get_running_loop().time():
                raise TimeoutError  # noqa: TRY301  before a command is sent, whose connection would be lost with it
            async with asyncio.timeout_at(until):
                owed = [await self._counted(part) for part in owed]
        except TimeoutError:
            waiting = ledger.waiting + ledger.imbalance
            return LaneState(dataclasses.replace(ledger, waiting=waiting), tuple(owed), is_exact=False)
        return LaneState(ledger_of(name, lane.fields, routed, lane.retrying, lane.dead, owed), tuple(owed))

    async def _counted(self, part: Owed) -> Owed:
        if not part.position:
            return part
        return part._replace(unread=await count_between(self._redis, part.stream, part.position, part.end))

    async def _faulty(self, name: str, streams: Sequence[StreamReply]) -> LaneLedger:
        types = self._key.lane_types(name) | dict.fromkeys((stream.stream for stream in streams), "stream")
        wrong = await wrong_keys(self._redis, types)
        return LaneLedger(name, 0, 0, 0, 0, 0, 0, fault="; ".join(map(str, wrong)) or "a key was of a wrong type")


def _owed(stream: StreamReply, group: str, left: str | None) -> Owed:
    """Return what `group` is owed, up to the id `left` if it has left the topic."""
    row = stream.groups.get(group)
    if row is None:
        return Owed(stream.stream)
    unread = None if left else lag_in(stream.length, stream.first, row.position, row.lag)
    return Owed(stream.stream, row.position, stream.first, left or stream.last, unread, row.pending)


def _routed(stream: StreamReply, fields: Mapping[str, str]) -> int:
    """Return how many entries of a topic's stream were routed to a lane with these fields."""
    is_final = f"left:{stream.stream}" in fields or not stream.exists
    added = _number(fields.get(f"known:{stream.stream}", "0")) if is_final else stream.entries_added
    return added - _number(fields.get(f"start:{stream.stream}", "0"))


def ledger_of(
    name: str, fields: Mapping[str, str], routed: int, retrying: int, dead: int, owed: Sequence[Owed]
) -> LaneLedger:
    """Return the ledger of a lane with these fields, of what was routed to it and what it is owed of each stream."""

    def count(field: str) -> int:
        return _number(fields.get(field, "0"))

    def total(kind: str) -> int:
        return sum(_number(value) for field, value in fields.items() if field.startswith(kind))

    return LaneLedger(
        subscription=name,
        routed=routed,
        delivered=count("delivered"),
        waiting=sum(part.pending + (part.unread or 0) for part in owed) - retrying,
        retrying=retrying,
        dead=dead,
        replayed=count("replayed"),
        filtered=count("filtered"),
        dropped=count("dropped") + total("dropped:"),
        discarded=count("discarded"),
        from_history=count("from_history"),
        repeated=total("repeated:"),
        lost=total("lost:"),
    )


def _number(value: str) -> int:
    """Return a counter of a lane's hash; 0 for other fields (a checkpoint is an id)."""
    return int(value) if value.lstrip("-").isdigit() else 0
