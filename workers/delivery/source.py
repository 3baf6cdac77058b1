"""What a lane has to send next, and the net below it that nothing slips through.

    what a former holder left pending   ->  retries that are due  ->  what is new

Everything that was read is pending in Redis until it is settled, so a worker that dies loses nothing: the next holder
of the partition finds it (`_find_orphans`). After any trouble with Redis we look for such deliveries too (`suspect`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from relay.core.delivery.outcome import RetryAt
from relay.store.driver.client import retry_until_redis_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.core.delivery.outcome import Verdict
    from relay.store.lanes.lane import Delivery, Lane, Ref
    from workers.delivery.session import Session

_READ = 50  # new deliveries at once, however few may be in flight: reading one by one would cost a round trip each


class Source:
    """Reads one lane."""

    def __init__(self, shift: Session, lane: Lane) -> None:
        self.next_due: int | None = None
        """When the next retry is due, Unix milliseconds, as far as we know; None if none waits."""
        self._shift = shift
        self._lane = lane
        self._orphans: deque[Ref] = deque()
        self._held: set[Ref] = set()  # read, and neither settled nor waiting in Redis
        self._may_have_new = True
        self._may_have_orphans = True
        self._loop = asyncio.get_running_loop()
        self._count_interval = shift.timings.pending_count
        self._count_at = self._loop.time() + self._count_interval

    def wake(self) -> None:
        """There may be something new."""
        self._may_have_new = True

    def resync(self) -> None:
        """There may be deliveries pending that nobody here knows of.

        An answer that was lost may have carried them, or taken retries; and a Redis that was killed may have come back
        without the last settlements that it had confirmed.
        """
        self._may_have_orphans = True

    @property
    def may_have_more(self) -> bool:
        """Whether `next` may find something now."""
        return bool(self._orphans or self._may_have_new or self._may_have_orphans)

    @property
    def counts_in(self) -> float:
        """Seconds until `check` has something to do."""
        return self._count_at - self._loop.time()

    async def check(self) -> None:
        """Now and then makes sure that nothing is pending that nobody here has: the net below everything else."""
        if self.counts_in > 0:
            return
        self._count_at = self._loop.time() + self._count_interval
        if await retry_until_redis_answers("counting what is pending", self._lane.in_hand) > len(self._held):
            self._may_have_orphans = True

    async def next(self, room: int) -> list[Delivery]:
        """What is to be sent next: up to `room` deliveries, or a few more where it costs nothing to read them.

        Raises:
            LeaseLost: the lease of the lane's partition is somebody else's.
        """
        return await self._read_known(room) or await self._read_new(room)

    def settled(self, delivery: Delivery, verdict: Verdict) -> None:  # noqa: ARG002  for those who keep an order
        """The verdict on a delivery is written."""
        if isinstance(verdict, RetryAt):
            self._expect(verdict.due_ms)

    def release(self, ref: Ref) -> None:
        """Nobody here works on a delivery any more."""
        self._held.discard(ref)

    async def _read_known(self, room: int) -> list[Delivery]:
        """Up to `room` deliveries that were read before: orphans, then retries that are due."""
        if self._may_have_orphans:
            await self._find_orphans()
        if self._orphans:
            refs = [self._orphans.popleft() for _ in range(min(room, len(self._orphans)))]
            return await self._fetch(refs)
        token, now_ms = self._shift.lease.token, self._shift.now_ms()
        if self.next_due is not None and self.next_due <= now_ms:
            due = await retry_until_redis_answers(
                "reading retries", lambda: self._lane.read_due(now_ms, room, token), self.resync
            )
            self._hold(due)
            await self._look_for_retries()
            return due
        return []

    async def _read_new(self, room: int) -> list[Delivery]:
        if not self._may_have_new:
            return []
        self._may_have_new = False
        token = self._shift.lease.token
        new = await retry_until_redis_answers(
            "reading a lane", lambda: self._lane.read_new(_READ, token, room), self.resync
        )
        self._hold(new)
        self._may_have_new |= len(new) >= min(_READ, room)
        return new

    async def _fetch(self, refs: Sequence[Ref]) -> list[Delivery]:
        return await retry_until_redis_answers("reading deliveries again", lambda: self._lane.fetch(refs))

    def _hold(self, deliveries: Iterable[Delivery]) -> None:
        self._held.update(delivery.ref for delivery in deliveries)

    async def _find_orphans(self) -> None:
        self._may_have_orphans = False
        held = set(self._held)  # as it was before we ask: what is settled meanwhile is no orphan
        orphans = await retry_until_redis_answers("finding orphans", self._lane.orphans)
        found = [ref for ref in orphans if ref not in held]
        self._held.update(found)
        self._orphans.extend(found)
        await self._look_for_retries()

    async def _look_for_retries(self) -> None:
        """Learns when the next retry is due. One that is settled while we ask counts too."""
        self.next_due = None
        self._expect(await retry_until_redis_answers("finding retries", self._lane.next_due))

    def _expect(self, due_ms: int | None) -> None:
        if due_ms is not None:
            self.next_due = due_ms if self.next_due is None else min(due_ms, self.next_due)
