"""Delaying of events, for the faults that deliver them late or in another order.

The first event that a fault delays opens a batch and a task that releases it on time; later events join the batch.
It is released early when the fault is removed; that of a `reorder` also when its window is full or it has no hits left.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.sandbox.faults.active import DelayedBatch
from relay.sandbox.faults.models import Reorder

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from relay.sandbox.faults.active import DelayingFault, StartDelivery


def delay_event(delayed_by: DelayingFault, start: StartDelivery, speed: float) -> Coroutine[None, None, None] | None:
    """Add an event to the batch of a fault; for the first one, return the coroutine that releases the batch."""
    active, fault = delayed_by
    release = None
    if active.batch is None:
        active.batch = DelayedBatch(asyncio.Event())
        release = _release(delayed_by, active.batch, speed)
    active.batch.starts.append(start)
    if isinstance(fault, Reorder) and (len(active.batch.starts) == fault.window or active.hits_left == 0):
        active.release_batch()
    return release


async def _release(delayed_by: DelayingFault, batch: DelayedBatch, speed: float) -> None:
    """Start the deliveries of the batch once it is ready, or after the delay of the fault."""
    active, fault = delayed_by
    with suppress(TimeoutError):
        async with asyncio.timeout(fault.seconds / speed):
            await batch.ready.wait()
    if active.batch is batch:
        active.batch = None
    starts = list(batch.starts)
    reconciled_at = None
    if isinstance(fault, Reorder):
        active.rng.shuffle(starts)
    else:
        reconciled_at = datetime.now(UTC)
    for start in starts:
        start(reconciled_at)
