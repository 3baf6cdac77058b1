"""Receiving events of a pull group: the expired and returned ones first, then new ones; waits if there are none.

While a shard does not answer, the events of the others are received; without any the error is told at the end of the
wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.core.errors import TooMany
from relay.services.topics.pull.access import open_group
from relay.services.topics.pull.batch import JOINED, Batch, Filling
from relay.services.topics.pull.request import Request, check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.topics.pull.arrivals import Arrivals
    from relay.store.topics.pull.whole_group import WholeGroup

_POLL = 1.0  # seconds between two looks while nothing arrives: events expire, or are handed back elsewhere
_UNUSED = 60.0  # seconds after which a consumer that holds nothing is deleted


async def receive(
    context: Context,
    arrivals: Arrivals,
    principal: Principal,
    request: Request,
    is_gone: Callable[[], bool] = lambda: False,
) -> Batch:
    """Receive the next events; wait for the first one. `is_gone` returns True if the reader has left.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group or the request.
        TooMany: too many events of the group are not acknowledged.
    """
    check(request)
    group = await open_group(context, principal, request.topic, request.group)
    return await receive_from(group, arrivals, request, is_gone)


async def receive_from(
    group: WholeGroup, arrivals: Arrivals, request: Request, is_gone: Callable[[], bool] = lambda: False
) -> Batch:
    """Receive the same from an open group, by a request that is checked.

    Raises:
        TooMany: too many events of the group are not acknowledged.
    """
    loop = asyncio.get_running_loop()
    deadline, unused, state = loop.time() + request.wait, _UNUSED, JOINED
    filling = Filling(group, request)
    while True:
        mark = arrivals.mark(request.topic)
        batch = await filling.batch(unused, arrivals.away)
        batch.state = state = batch.state if state == JOINED else state
        left = deadline - loop.time()
        if batch.has_news or left <= 0 or is_gone():
            break
        if batch.is_full:
            raise TooMany(
                f'{batch.pending} events of the group "{request.group}" are not acknowledged; acknowledge or release '
                f"some, then it gets more"
            )
        unused = 0
        await arrivals.wait(request.topic, mark, min(left, _POLL))
        if is_gone():
            break
    if batch.error is not None and not batch.has_news:
        raise batch.error
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
    unused, filling = _UNUSED, Filling(group, request)
    while not is_gone():
        mark = arrivals.mark(request.topic)
        batch = await filling.batch(unused, arrivals.away)
        unused = 0
        if batch.has_news:
            yield batch
        else:
            await arrivals.wait(request.topic, mark, _POLL)
