"""Ordered source: the events of a chat one at a time, in the order they were accepted.

    read as by `Source`  ->  queue of its chat  ->  sent when it is the first of its chat

A chat's queue also waits while its first delivery waits for a retry, and across workers: a worker that takes a lane
over queues everything pending before it sends anything. A queued delivery is kept by its reference and read again when
its turn comes; only some are kept whole. An ordered lane reads no further while its queues are full.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.chat_order import ChatOrder
from relay.core.delivery.outcome import DeadLettered, RetryAt
from relay.store.driver.streams import pages
from workers.delivery.source import Source

if TYPE_CHECKING:
    from collections.abc import Container

    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Verdict
    from relay.store.lanes.delivery import Delivery, Ref
    from relay.store.lanes.lane import Lane
    from workers.delivery.lane_access import LaneAccess
    from workers.delivery.session import Session

_MAX_QUEUED = 20_000
_MAX_KEPT = 8 * 1024 * 1024  # bytes of bodies
_PAGE = 50

log = structlog.get_logger()


def source_for(session: Session, lane: Lane, access: LaneAccess, subscription: Subscription) -> Source:
    """Return the source of a subscription's lane, ordered if the subscription asks for it."""
    if subscription.ordered:
        return OrderedSource(session, lane, access, subscription)
    return Source(session, lane, access)


class OrderedSource(Source):
    """The source of one lane that keeps the order of each chat."""

    def __init__(self, session: Session, lane: Lane, access: LaneAccess, subscription: Subscription) -> None:
        super().__init__(session, lane, access)
        self._blocks = subscription.block_on_dead
        self._order: ChatOrder[Ref] = ChatOrder()
        self._queued: dict[Ref, Delivery | None] = {}  # in hand and not started; whole, as far as memory allows
        self._kept_bytes = 0
        self._candidates: deque[Ref] = deque()  # deliveries that may be the first of their chat
        self._may_have_unblocked = self._blocks
        self._just_blocked: dict[str, Ref] = {}  # since the read of all blocked chats began, which may not know of them
        self._is_order_full = False

    def wake(self) -> None:
        """Read new events and the blocked chats at the next call of `next`."""
        super().wake()
        self._may_have_unblocked |= self._order.are_blocked

    def read_again(self, read: deque[Delivery], started: Container[Ref]) -> None:  # noqa: ARG002  they hold their chats
        """Search for orphans and new events; what was read stays, in its place in its chat."""
        self.resync()

    @property
    def may_have_more(self) -> bool:
        """True if `next` may find a delivery now."""
        return bool(self._candidates) or self._may_have_unblocked or super().may_have_more

    async def _next(self, capacity: int, *, prefer_new: bool) -> list[Delivery]:
        """Read at most `capacity` deliveries that are the first of their chats; `prefer_new` as in `Source`."""
        if self._may_have_unblocked:
            await self._read_blocked()
        if not prefer_new or self._may_have_orphans:
            self._enqueue(await self._read_pending(capacity))
        while not (started := await self._start(capacity)) and self._has_room:
            new = await self._read_new(capacity)
            self._enqueue(new)
            if self._may_have_orphans:  # a response was lost: the deliveries in it go before these
                await self._find_orphans()
            elif not new:
                break
        if not started and prefer_new:
            self._enqueue(await self._read_pending(capacity))
            started = await self._start(capacity)
        return started

    def settled(self, delivery: Delivery, verdict: Verdict) -> None:
        """Let the next delivery of the chat start, unless this one waits for a retry or blocks the chat."""
        super().settled(delivery, verdict)
        is_dead = isinstance(verdict, DeadLettered)
        self._may_have_unblocked |= self._blocks and (bool(delivery.blocks) or is_dead)
        if self._blocks and is_dead and delivery.chat:  # at once: Redis is read a little later
            self._order.block_chat(delivery.chat, delivery.ref)
            self._just_blocked[delivery.chat] = delivery.ref
        end = self._order.wait if isinstance(verdict, RetryAt) else self._order.remove
        if (first := end(delivery.ref)) is not None:
            self._candidates.append(first)

    async def _read_blocked(self) -> None:
        self._may_have_unblocked = False
        self._just_blocked = {}
        blocked = await self._retry("reading chats", self._lane.blocked_chats)
        self._candidates += self._order.block({**blocked, **self._just_blocked})

    @property
    def _has_room(self) -> bool:
        was_full, self._is_order_full = self._is_order_full, len(self._order) >= _MAX_QUEUED
        if self._is_order_full and not was_full:
            log.warning("lane.order_buffer_full", subscription=self._lane.name, queued=len(self._order))
        return not self._is_order_full and super()._has_room

    def _enqueue(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._add_to_order(delivery)
            size = len(delivery.fields.get(b"body", b""))
            is_kept = self._kept_bytes + size <= _MAX_KEPT
            self._queued[delivery.ref] = delivery if is_kept else None
            self._kept_bytes += size if is_kept else 0
            self._candidates.append(delivery.ref)

    def _add_to_order(self, delivery: Delivery) -> None:
        if chat := delivery.chat:
            self._order.add(delivery.ref, chat, delivery.order)

    async def _start(self, capacity: int) -> list[Delivery]:
        """Start at most `capacity` candidates that are the first of their chats."""
        started: list[Delivery] = []
        to_read: list[Ref] = []
        while self._candidates and len(started) + len(to_read) < capacity:
            ref = self._candidates.popleft()
            if ref not in self._queued or not self._order.start(ref):
                continue
            delivery = self._queued.pop(ref)
            if delivery is None:
                to_read.append(ref)
            else:
                self._kept_bytes -= len(delivery.fields.get(b"body", b""))
                started.append(delivery)
        return [*started, *await self._fetch(to_read)] if to_read else started

    async def _find_orphans(self) -> None:
        """Queue everything pending, including deliveries that wait for a retry."""
        await super()._find_orphans()
        orphans, self._orphans = self._orphans, deque()
        waiting = await self._retry("finding retries", self._lane.waiting)
        unknown = [ref for ref in (*orphans, *waiting) if ref not in self._order]
        for page in pages(unknown, _PAGE):
            for delivery in await self._fetch(page):
                self._add_to_order(delivery)
        self._queued.update(dict.fromkeys(orphans))
        self._candidates += orphans
