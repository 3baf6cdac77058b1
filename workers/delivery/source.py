"""Source: the deliveries that a lane sends next.

    orphans that a former worker left pending   ->  retries that are due  ->  new events

A delivery that was read is pending in Redis until it is settled, so a worker that dies loses nothing: the next worker
of the partition finds its deliveries (`_find_orphans`). After any error of Redis the lane is searched for orphans too
(`resync`), and now and then the pending deliveries of all lanes are counted together (`counted`), which finds whatever
else was missed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.outcome import RetryAt
from relay.store.lanes.delivery import Delivery, Ref

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from relay.core.delivery.outcome import Verdict
    from relay.store.inbox.reading.hand_over import Offer, Row
    from relay.store.lanes.lane import Lane
    from workers.delivery.lane_access import LaneAccess
    from workers.delivery.session import Session

_MAX_RETRYING = 100_000
"""Deliveries that wait for a retry, some 40 MB in Redis; more events of a subscriber that fails wait in the topic,
which has bounds of its own.
"""
_READ = 50  # new deliveries a read, however few may be in flight: reading them singly would cost a round trip each

log = structlog.get_logger()


class Source:
    """The source of one lane."""

    def __init__(self, session: Session, lane: Lane, access: LaneAccess) -> None:
        self.next_due: int | None = None
        """Due time of the next retry that is known, Unix milliseconds; None if no retry waits."""
        self._session = session
        self._lane = lane
        self._retry = access.retry
        self._orphans: deque[Ref] = deque()
        self._in_hand: set[Ref] = set()  # read, and neither settled nor waiting in Redis for a retry
        self._may_have_new = True
        self._may_have_orphans = True
        self._is_reading = False
        self._is_promised = False  # `take` comes, and until then nothing is read: it could be the same
        self._taken: list[Delivery] = []  # new deliveries that a commit has handed over
        self._retrying = 0  # as of the last count, with what has changed since
        self._must_count = False
        self._is_full = False

    def begin(self, pending: int, retrying: int) -> None:
        """Take note of what was pending before the first read, and how much of it waits for a retry."""
        self._may_have_orphans = pending > 0
        self._retrying = retrying

    def wake(self) -> None:
        """Read new events at the next call of `next`."""
        self._may_have_new = True

    def resync(self) -> None:
        """Search for orphans and new events at the next call of `next`.

        A response of Redis that was lost may have carried deliveries, or the mark that the lane has new events (it is
        taken from Redis when it is read); and a Redis that was killed may have come back without the last settlements
        that it had confirmed.
        """
        self._may_have_orphans = self._may_have_new = True

    def read_again(self, read: deque[Delivery], started: Container[Ref]) -> None:
        """Empty `read`, deliveries that were not `started`, and search for them as `resync` does.

        A Redis that has forgotten the read would hand them out again, after they were sent and could not be settled.
        """
        kept = [delivery for delivery in read if delivery.ref in started]
        self._in_hand -= {delivery.ref for delivery in (*read, *self._taken) if delivery.ref not in started}
        self._taken = []
        read.clear()
        read.extend(kept)
        self.resync()

    @property
    def may_have_more(self) -> bool:
        """True if `next` may find a delivery now."""
        return bool(self._taken or self._orphans or self._may_have_new or self._may_have_orphans)

    @property
    def has_next(self) -> bool:
        """True if `next` may find a delivery now, or a retry that is due."""
        return self.may_have_more or self._is_due

    @property
    def _is_due(self) -> bool:
        return self.next_due is not None and self.next_due <= self._session.now_ms()

    @property
    def is_at_rest(self) -> bool:
        """True if it has nothing in hand, and no retry waits."""
        has_work = self._in_hand or self._is_promised or self._is_reading or self.may_have_more or self._must_count
        return not has_work and self.next_due is None

    @property
    def in_hand(self) -> int:
        """The number of deliveries that were read, and are neither settled nor wait for a retry."""
        return len(self._in_hand)

    def counted(self, in_redis: int, retrying: int, in_hand: int) -> bool:
        """Take note of what Redis had in hand while `in_hand` deliveries were here.

        Returns True if that was more: then the lane is searched for orphans.
        """
        self._retrying = retrying
        is_unknown = in_redis > max(in_hand, len(self._in_hand))
        self._may_have_orphans |= is_unknown
        return is_unknown

    def count(self) -> None:
        """Count what is pending at the next call of `check`."""
        self._must_count = True

    async def check(self) -> None:
        """Count what is pending, if it must."""
        if not self._must_count:
            return
        self._must_count = False
        in_redis = await self._retry("counting pending deliveries", self._lane.in_hand)
        self.counted(in_redis, await self._retry("counting retries", self._lane.retrying), 0)

    @property
    def _has_room(self) -> bool:
        """True if new events may be read; the first time that there is no room is logged."""
        was_full, self._is_full = self._is_full, self._retrying >= _MAX_RETRYING
        if self._is_full and not was_full:
            log.error("lane.retries_full", subscription=self._lane.name, retrying=self._retrying)
        return not self._is_full

    async def next(self, capacity: int, *, prefer_new: bool = False) -> list[Delivery]:
        """Read the next deliveries: `capacity` of them, or a few more where reading them costs nothing.

        With `prefer_new`, for probes, retries come after new events: probing the same few again and again, which the
        subscriber may refuse for what they are, would never show that it takes others.

        Raises:
            LeaseLost: another worker holds the lease of the lane's partition.
        """
        if self._is_promised:
            return []
        self._is_reading = True
        try:
            while not (found := await self._next(capacity, prefer_new=prefer_new)) and self._may_have_orphans:
                pass  # a reply was lost meanwhile, with deliveries perhaps, and what repeated the read found no more
            return found
        finally:
            self._is_reading = False

    async def _next(self, capacity: int, *, prefer_new: bool) -> list[Delivery]:
        if prefer_new and (new := await self._read_new(capacity)):
            return new
        return await self._read_pending(capacity) or await self._read_new(capacity)

    def offer(self, stream: str) -> Offer | None:
        """Return the offer to take new events of `stream` from a commit; None if there is anything else to read.

        After an offer nothing is read until `take` is called.
        """
        if self._is_promised or self._is_reading or self.has_next or not self._has_room:
            return None
        offer = self._lane.offer(stream, self._session.lease.token, _READ)
        self._is_promised = offer is not None
        return offer

    def take(self, rows: Sequence[Row] | None) -> None:
        """Take the events that a commit has read; None if it has failed, and may have read some."""
        self._is_promised = False
        if rows is None:
            self.resync()
        elif rows:
            stream = self._lane.topic_stream
            self._taken += self._unknown(
                Delivery(Ref(stream, entry.decode()), dict(zip(flat[::2], flat[1::2], strict=True)))
                for entry, flat in rows
            )
            self._may_have_new |= len(rows) >= _READ

    def settled(self, delivery: Delivery, verdict: Verdict) -> None:  # noqa: ARG002  for `OrderedSource`
        """Take note of the verdict on a delivery, which is written."""
        if isinstance(verdict, RetryAt):
            self._retrying += 1
            self._keep_earliest(verdict.due_ms)

    def release(self, ref: Ref) -> None:
        """Forget a delivery that is no longer in hand."""
        self._in_hand.discard(ref)

    async def _read_pending(self, capacity: int) -> list[Delivery]:
        """Read at most `capacity` deliveries that were read before: orphans, then retries that are due."""
        if self._may_have_orphans:
            await self._find_orphans()
        if self._orphans:
            refs = [self._orphans.popleft() for _ in range(min(capacity, len(self._orphans)))]
            return await self._fetch(refs)
        if self._is_due:
            token, now_ms = self._session.lease.token, self._session.now_ms()
            due = await self._retry(
                "reading retries", lambda: self._lane.read_due(now_ms, capacity, token), self.resync
            )
            self._retrying -= len(due)
            self._add_in_hand(due)
            await self._read_next_due()
            return due
        return []

    async def _read_new(self, capacity: int) -> list[Delivery]:
        if self._taken:
            taken, self._taken = self._taken, []
            return taken
        if not self._may_have_new or not self._has_room:
            return []
        self._may_have_new = False
        reads = self._session.reads
        new = await self._retry("reading a lane", lambda: reads.read_new(self._lane, _READ, capacity), self.resync)
        self._may_have_new |= len(new) >= min(_READ, capacity)
        return self._unknown(new)

    def _unknown(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Return those of `deliveries` that are not in hand, which they are now: a repaired lane reads some again."""
        new = [delivery for delivery in deliveries if delivery.ref not in self._in_hand]
        self._add_in_hand(new)
        return new

    async def _fetch(self, refs: Sequence[Ref]) -> list[Delivery]:
        return await self._retry("reading deliveries again", lambda: self._lane.fetch(refs))

    def _add_in_hand(self, deliveries: Iterable[Delivery]) -> None:
        self._in_hand.update(delivery.ref for delivery in deliveries)

    async def _find_orphans(self) -> None:
        self._may_have_orphans = False
        in_hand = set(self._in_hand)  # of before the read: a delivery that is settled meanwhile is no orphan
        orphans = await self._retry("finding orphans", self._lane.orphans)
        found = [ref for ref in orphans if ref not in in_hand]
        self._in_hand.update(found)
        self._orphans.extend(found)
        await self._read_next_due()

    async def _read_next_due(self) -> None:
        """Read when the next retry is due; one that is settled during the read counts too."""
        self.next_due = None
        self._keep_earliest(await self._retry("finding retries", self._lane.next_due))

    def _keep_earliest(self, due_ms: int | None) -> None:
        if due_ms is not None:
            self.next_due = due_ms if self.next_due is None else min(due_ms, self.next_due)
