"""What a lane has to send next when the events of a chat go one at a time, in the order they were accepted.

    whatever there is, as `Source` reads it  ->  the line of its chat  ->  sent when its turn has come

A line stands also while its first waits for another attempt, and across workers: who takes a lane over lines up all
that is pending before anything is sent. What waits for its turn is remembered by name, and read again when it comes;
only some of it is kept whole. An ordered lane reads no further while very many stand in line.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.chat_order import ChatOrder
from relay.core.delivery.outcome import DeadLettered, RetryAt
from relay.store.driver.client import retry_until_redis_answers
from relay.store.driver.streams import pages
from workers.delivery.source import Source

if TYPE_CHECKING:
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Verdict
    from relay.store.lanes.lane import Delivery, Lane, Ref
    from workers.delivery.session import Session

_MAX_IN_LINE = 20_000
_MAX_KEPT = 8 * 1024 * 1024  # bytes of bodies
_PAGE = 50

log = structlog.get_logger()


def source_for(shift: Session, lane: Lane, subscription: Subscription) -> Source:
    """What a subscription's lane has to send, in the order that it wants."""
    return OrderedSource(shift, lane, subscription) if subscription.ordered else Source(shift, lane)


class OrderedSource(Source):
    """Reads one lane, a chat's events in their order."""

    def __init__(self, shift: Session, lane: Lane, subscription: Subscription) -> None:
        super().__init__(shift, lane)
        self._blocks = subscription.block_on_dead
        self._turns: ChatOrder[Ref] = ChatOrder()
        self._here: dict[Ref, Delivery | None] = {}  # held and not begun; whole, as long as there is room
        self._kept_bytes = 0
        self._called: deque[Ref] = deque()  # whose turn may have come
        self._may_have_let_go = self._blocks
        self._is_full = False

    def wake(self) -> None:
        """There may be something new, or a chat that was held up may go on."""
        super().wake()
        self._may_have_let_go |= self._turns.are_blocked

    @property
    def may_have_more(self) -> bool:
        """Whether `next` may find something now."""
        return bool(self._called) or self._may_have_let_go or super().may_have_more

    async def next(self, room: int) -> list[Delivery]:
        """Up to `room` deliveries whose turn has come.

        Raises:
            LeaseLost: the lease of the lane's partition is somebody else's.
        """
        if self._may_have_let_go:
            self._may_have_let_go = False
            self._called += self._turns.block(
                await retry_until_redis_answers("reading chats", self._lane.blocked_chats)
            )
        self._line_up(await self._read_known(room))
        while not (going := await self._begin(room)) and self._has_room:
            new = await self._read_new(room)
            self._line_up(new)
            if self._may_have_orphans:  # an answer was lost on the way: what it carried goes before this
                await self._find_orphans()
            elif not new:
                break
        return going

    def settled(self, delivery: Delivery, verdict: Verdict) -> None:
        """The verdict on a delivery is written: the next one of its chat may go, unless it waits or holds them up."""
        super().settled(delivery, verdict)
        is_dead = isinstance(verdict, DeadLettered)
        self._may_have_let_go |= self._blocks and (bool(delivery.blocks) or is_dead)
        if self._blocks and is_dead and delivery.chat:  # now: Redis is asked a little later
            self._turns.hold(delivery.chat, delivery.ref)
        end = self._turns.wait if isinstance(verdict, RetryAt) else self._turns.remove
        if (first := end(delivery.ref)) is not None:
            self._called.append(first)

    @property
    def _has_room(self) -> bool:
        was_full, self._is_full = self._is_full, len(self._turns) >= _MAX_IN_LINE
        if self._is_full and not was_full:
            log.warning("lane.order_buffer_full", subscription=self._lane.name, in_line=len(self._turns))
        return not self._is_full

    def _line_up(self, found: list[Delivery]) -> None:
        for delivery in found:
            self._join(delivery)
            size = len(delivery.fields.get(b"body", b""))
            is_kept = self._kept_bytes + size <= _MAX_KEPT
            self._here[delivery.ref] = delivery if is_kept else None
            self._kept_bytes += size if is_kept else 0
            self._called.append(delivery.ref)

    def _join(self, delivery: Delivery) -> None:
        if chat := delivery.chat:
            self._turns.add(delivery.ref, chat, delivery.order)

    async def _begin(self, room: int) -> list[Delivery]:
        """Up to `room` of those that were called and whose turn it is."""
        going: list[Delivery] = []
        to_read: list[Ref] = []
        while self._called and len(going) + len(to_read) < room:
            ref = self._called.popleft()
            if ref not in self._here or not self._turns.start(ref):
                continue
            delivery = self._here.pop(ref)
            if delivery is None:
                to_read.append(ref)
            else:
                self._kept_bytes -= len(delivery.fields.get(b"body", b""))
                going.append(delivery)
        return [*going, *await self._fetch(to_read)] if to_read else going

    async def _find_orphans(self) -> None:
        """Lines up all that is pending; what waits for its next attempt, too."""
        await super()._find_orphans()
        orphans, self._orphans = self._orphans, deque()
        waiting = await retry_until_redis_answers("finding retries", self._lane.waiting)
        unknown = [ref for ref in (*orphans, *waiting) if ref not in self._turns]
        for page in pages(unknown, _PAGE):
            for delivery in await self._fetch(page):
                self._join(delivery)
        self._here.update(dict.fromkeys(orphans))
        self._called += orphans
