"""Holding events back, for the faults that deliver them late or in another order."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.sandbox.faults.active import Batch
from relay.sandbox.faults.models import Reorder

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from relay.sandbox.faults.active import Holder, Start


def hold(holder: Holder, start: Start, speed: float) -> Coroutine[None, None, None] | None:
    """Has a fault hold an event back; for the first of a batch, what has to run to let the batch go in time."""
    active, fault = holder
    release = None
    if active.batch is None:
        active.batch = Batch(asyncio.Event())
        release = _release(holder, active.batch, speed)
    active.batch.starts.append(start)
    if isinstance(fault, Reorder) and (len(active.batch.starts) == fault.window or active.left == 0):
        active.let_go()
    return release


async def _release(holder: Holder, batch: Batch, speed: float) -> None:
    """Lets the batch go when it is ready, or when the time of the fault is over."""
    active, fault = holder
    with suppress(TimeoutError):
        async with asyncio.timeout(fault.seconds / speed):
            await batch.ready.wait()
    if active.batch is batch:
        active.batch = None
    starts = list(batch.starts)
    moment = None
    if isinstance(fault, Reorder):
        active.dice.shuffle(starts)
    else:
        moment = datetime.now(UTC)
    for start in starts:
        start(moment)
