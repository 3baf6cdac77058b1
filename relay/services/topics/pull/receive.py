"""Receiving events of a pull group: the expired and returned ones first, then new ones; waits if there are none.

A batch is read in several round trips. If one of them fails, what came before it is returned: an event that no reader
has seen would have to wait for its visibility timeout.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.consumer.names import MAX_DELIVERIES
from relay.core.errors import Invalid, Problem, TooMany
from relay.services.topics.pull.access import check_name, open_group
from relay.store.driver.client import REDIS_ERRORS
from relay.store.topics.pull.group import MAX_PENDING, PAGE, Limits, consumer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.topics.pull.arrivals import Arrivals
    from relay.store.topics.pull.group import Delivered, PullGroup

MAX_EVENTS = 1000
MAX_SIZE = 4 * 1024 * 1024
"""Bytes of a batch; its last events may exceed it."""
MAX_WAIT = 30.0
"""Seconds."""
MIN_VISIBILITY, MAX_VISIBILITY = 1.0, 12 * 3600.0
"""Seconds."""
MAX_MAX_DELIVERIES = 1000

JOINED, RESTORED = "joined", "restored"

_POLL = 1.0  # seconds between two looks while nothing arrives: events expire, or are handed back elsewhere
_UNUSED = 60.0  # seconds after which a consumer that holds nothing is deleted
_START = re.compile(r"0|\$|[0-9]{13}|[0-9]{1,15}-[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request for events."""

    topic: str
    group: str
    member: str = "http"
    """The name of the reader within the group."""
    limit: int = 100
    """Events, at most."""
    wait: float = 0.0
    """Seconds to wait for the first event."""
    visibility: float = 60.0
    """Seconds after which an event that is not acknowledged is delivered again."""
    start: str = "0"
    """The place where a new group begins: `0` (the oldest kept event), `$` (the next one), an entry, or Unix ms."""
    held: int = MAX_PENDING
    """Events that the member may hold, without those that have expired."""
    max_deliveries: int = MAX_DELIVERIES
    """Deliveries of an event to the group; instead of one more, it becomes a dead letter. 0 is no limit."""


@dataclass(slots=True)
class Batch:
    """The events that a member has received."""

    topic: str
    group: str
    member: str
    state: str = JOINED
    """`joined`, `created` (the group is new) or `restored` (it was lost, and is made again at its last known place)."""
    missed: int | None = 0
    """Events that were trimmed before the group read them; None if some were, and their number is not known."""
    trimmed: int = 0
    """Events that were trimmed after they had been delivered, and before they were acknowledged."""
    dead: int = 0
    """Events that became dead letters, since they were delivered as often as they may be."""
    pending: int = 0
    """Events of the group that are not acknowledged, these included."""
    events: list[Delivered] = field(default_factory=list)

    @property
    def has_news(self) -> bool:
        """True if there is something to tell, if not events."""
        return bool(self.events or self.trimmed or self.dead or self.missed != 0 or self.state == RESTORED)

    @property
    def cursor(self) -> str | None:
        """The receipt of the last event; acknowledging up to it acknowledges all of them."""
        return str(self.events[-1].receipt) if self.events else None


async def receive(
    context: Context,
    arrivals: Arrivals,
    principal: Principal,
    request: Request,
    is_gone: Callable[[], bool] = lambda: False,
) -> Batch:
    """Receive the next events; wait for the first one, if `wait` says so. `is_gone` tells that the reader has left.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group or the request.
        TooMany: too many events of the group are not acknowledged.
    """
    check(request)
    group = await open_group(context, principal, request.topic, request.group)
    loop = asyncio.get_running_loop()
    deadline, unused, state = loop.time() + request.wait, _UNUSED, JOINED
    while True:
        mark = arrivals.mark(request.topic)
        batch = await _fill(group, request, unused)
        batch.state = state = batch.state if state == JOINED else state
        left = deadline - loop.time()
        if batch.has_news or left <= 0 or is_gone():
            break
        if batch.pending >= MAX_PENDING:
            raise TooMany(
                f'{batch.pending} events of the group "{request.group}" are not acknowledged; acknowledge or release '
                f"some, then it gets more"
            )
        unused = 0
        await arrivals.wait(request.topic, mark, min(left, _POLL))
        if is_gone():
            break
    return batch


async def batches(
    context: Context,
    arrivals: Arrivals,
    principal: Principal,
    request: Request,
    is_gone: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Batch]:
    """Receive batches, one after the other, until `is_gone`; the member holds no more than `held` events at a time.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group or the request.
    """
    check(request)
    group = await open_group(context, principal, request.topic, request.group)
    unused = _UNUSED
    while not is_gone():
        mark = arrivals.mark(request.topic)
        batch = await _fill(group, request, unused)
        unused = 0
        if batch.has_news:
            yield batch
        else:
            await arrivals.wait(request.topic, mark, _POLL)


def check(request: Request) -> None:
    """Check a request, apart from its topic and its group.

    Raises:
        Invalid: it has mistakes; names all of them.
    """
    problems = [
        Problem(name, f"must be {low:g} to {high:g}{unit}")
        for name, value, low, high, unit in (
            ("limit", request.limit, 1, MAX_EVENTS, ""),
            ("wait", request.wait, 0, MAX_WAIT, " s"),
            ("visibility", request.visibility, MIN_VISIBILITY, MAX_VISIBILITY, " s"),
            ("held", request.held, 1, MAX_PENDING, ""),
            ("max_deliveries", request.max_deliveries, 0, MAX_MAX_DELIVERIES, ""),
        )
        if not (math.isfinite(value) and low <= value <= high)
    ]
    if not _START.fullmatch(request.start):
        problems.append(
            Problem("start", "write 0 (the oldest kept event), $ (the next one), Unix milliseconds, or an entry's id")
        )
    try:
        check_name("member", request.member)
    except Invalid as error:
        problems += error.problems
    if problems:
        raise Invalid(*problems)


async def _fill(group: PullGroup, request: Request, unused: float) -> Batch:
    """Read a batch, as far as there are events."""
    batch = Batch(request.topic, request.group, request.member)
    consumer = consumer_of(request.member, request.visibility)
    count, size = request.limit, MAX_SIZE
    while count > 0 and size > 0:
        try:
            limits = Limits(count, size, request.held, request.max_deliveries)
            page = await group.receive(consumer, limits, start=request.start, unused=unused)
        except REDIS_ERRORS:
            if batch.events:
                break
            raise
        batch.events += page.events
        batch.state = batch.state if page.state == JOINED else page.state
        batch.missed = None if page.missed < 0 or batch.missed is None else batch.missed + page.missed
        batch.trimmed += page.trimmed
        batch.dead += page.dead
        batch.pending = page.pending
        if len(page.events) < min(count, PAGE):
            break
        count -= len(page.events)
        size -= sum(len(event.record.body) for event in page.events)
        unused = 0
    return batch
