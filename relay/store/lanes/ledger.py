"""The ledger: for every subscription, the state of all events that were routed to it. It must balance.

    routed + repeated + from_history = delivered + filtered + waiting + retrying + dead + dropped + discarded
        + lost

The routed and the waiting events are read from the streams; the settled ones are counted in the step that settles them.
Each row is read in one transaction, so it also balances while the relay works.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.client import ask, ask_together, describe
from relay.store.driver.streams import count_between, order_of
from relay.store.isolation import is_wrong_type, wrong_keys
from relay.store.lanes.position import lane_names, streams_read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis


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
        return self.accepted == self.routed + self.unmatched + self.poisoned + self.lost + self.inbox


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


class Ledger:
    """The counters of all webhooks and subscriptions."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = redis.key

    async def totals(self) -> Totals:
        """Return the totals over all webhooks."""

        def queue(pipe: Pipeline) -> None:
            pipe.hgetall(self._key.counts)
            pipe.xlen(self._key.inbox)

        rows, inbox = await ask_together(self._redis, queue)
        counts = {name.decode(): int(value) for name, value in rows.items()}
        counted = [field.name for field in dataclasses.fields(Totals) if field.name != "inbox"]
        return Totals(inbox=inbox, **{name: counts.get(name, 0) for name in counted})

    async def unmatched(self) -> dict[str, int]:
        """Return the number of events that matched no topic, by type."""
        rows = await ask(self._redis.hgetall(self._key.unmatched))
        return {name.decode(): int(value) for name, value in sorted(rows.items())}

    async def lanes(self) -> list[LaneLedger]:
        """Return the ledger of every subscription that ever had a lane."""
        return [await self._lane_or_fault(name) for name in await lane_names(self._redis)]

    async def _lane_or_fault(self, name: str) -> LaneLedger:
        streams: list[str] = []
        try:
            streams = await streams_read(self._redis, name)
            return await self._lane(name, streams)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            fault = describe(error)
        wrong = await wrong_keys(self._redis, self._key.lane_types(name) | dict.fromkeys(streams, "stream"))
        return LaneLedger(name, 0, 0, 0, 0, 0, 0, fault="; ".join(map(str, wrong)) or fault)

    async def _lane(self, name: str, streams: Sequence[str]) -> LaneLedger:
        """Return the ledger of a lane.

        Redis's own number of unread entries (`lag`) is an estimate: Redis 7.0 gets it wrong when it loads its
        append-only file. It is used if the counters of the lane confirm it; else the entries are counted.
        """
        row = await self._row(name, streams, is_lag_trusted=True)
        return row if row.balances else await self._row(name, streams, is_lag_trusted=False)

    async def _row(self, name: str, streams: Sequence[str], *, is_lag_trusted: bool) -> LaneLedger:
        def queue(pipe: Pipeline) -> None:
            pipe.hgetall(self._key.lane(name))
            pipe.zcard(self._key.lane(name, "retries"))
            pipe.xlen(self._key.lane(name, "dead"))
            for stream in (self._key.lane(name, "replay"), *streams):
                _ask_for_state(pipe, stream)

        rows, retrying, dead, *states = await ask_together(self._redis, queue, raise_on_error=False)
        for reply in (rows, retrying, dead, *states):
            if isinstance(reply, ResponseError) and is_wrong_type(reply):
                raise reply
        counts: Counter[str] = Counter({key.decode(): _number(value) for key, value in rows.items()})
        group = keys.push_group(name)
        owed = routed = 0
        for stream, info, groups in zip((None, *streams), states[::2], states[1::2], strict=True):
            left = rows.get(f"left:{stream}".encode())
            if not isinstance(info, ResponseError):  # the stream exists
                row = next((row for row in groups if row["name"] == group.encode()), None)
                lag = _lag(row, info) if row and is_lag_trusted and not left else None
                last = (left or info["last-generated-id"]).decode()
                owed += await self._owed(stream or self._key.lane(name, "replay"), row, lag, last)
            if stream is not None:
                is_final = left is not None or isinstance(info, ResponseError)
                routed += (counts[f"known:{stream}"] if is_final else info["entries-added"]) - counts[f"start:{stream}"]
        return LaneLedger(
            subscription=name,
            routed=routed,
            delivered=counts["delivered"],
            waiting=owed - retrying,
            retrying=retrying,
            dead=dead,
            replayed=counts["replayed"],
            filtered=counts["filtered"],
            dropped=sum(count for field, count in counts.items() if field.partition(":")[0] == "dropped"),
            discarded=counts["discarded"],
            from_history=counts["from_history"],
            repeated=sum(count for field, count in counts.items() if field.startswith("repeated:")),
            lost=sum(count for field, count in counts.items() if field.startswith("lost:")),
        )

    async def _owed(self, stream: str, group: Mapping[str, Any] | None, lag: int | None, last: str) -> int:
        """Count the unacknowledged entries of `stream`, read or not, up to the id `last`; `lag` are the unread ones."""
        if group is None:
            return 0
        if lag is None:
            lag = await count_between(self._redis, stream, group["last-delivered-id"].decode(), last)
        return int(group["pending"]) + lag


def _lag(group: Mapping[str, Any], info: Mapping[str, Any]) -> int | None:
    """Return Redis's number of entries that a group has not read; None if entries may be missing among them."""
    first, lag = info["first-entry"], group.get("lag")
    if not first or order_of(group["last-delivered-id"].decode()) < order_of(first[0].decode()):
        return int(info["length"])  # all that is kept
    return None if lag is None or lag > info["length"] else int(lag)


def _ask_for_state(pipe: Pipeline, stream: str) -> None:
    pipe.xinfo_stream(stream)
    pipe.xinfo_groups(stream)


def _number(value: bytes) -> int:
    """Return a counter of a lane's hash; 0 for other fields (a checkpoint is an id)."""
    return int(value) if value.lstrip(b"-").isdigit() else 0
