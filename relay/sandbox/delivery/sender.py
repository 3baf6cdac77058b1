"""How Linq sends events: to every subscription that wants them, without waiting for the answer to an earlier one.

What the faults in force do to an event is decided once, before anything of it is sent; a delivery makes its own way
then (`delivery_v3`, `delivery_v2`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from relay.sandbox.delivery.v2 import V2Errand, takers_v2
from relay.sandbox.delivery.v3 import Pauses, V3Errand, takers_v3
from relay.sandbox.faults.delay import hold
from relay.sandbox.state import Delivery

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime

    from relay.sandbox.delivery.post import Poster
    from relay.sandbox.events.event import Happening, V2Telling, V3Telling, Verbatim
    from relay.sandbox.faults.active import Treatment
    from relay.sandbox.state import SandboxState


class Deliveries:
    """Everything that is on its way."""

    def __init__(self, state: SandboxState, poster: Poster, speed: float, seed: int) -> None:
        """`speed` divides every wait; `seed` makes the jitter repeatable."""
        self._state = state
        self._poster = poster
        self._speed = speed
        self._pauses = Pauses(speed, seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self.events = 0
        """How many events somebody wanted, so far."""

    def send(self, happening: Happening) -> int:
        """Starts the deliveries of one event; how many subscriptions want it."""
        takers, v2_takers = takers_v3(happening, self._state), takers_v2(happening, self._state)
        if not takers and not v2_takers:
            return 0
        self.events += 1
        treatment = self._state.faults.for_event(happening.event_type, happening.line)
        line, errands = happening.line, list[V3Errand | V2Errand]()
        for _ in range(treatment.copies):
            for one, telling in takers:
                delivery = _delivery("v3", one.id, telling, line, treatment)
                errands.append(V3Errand(one, telling, treatment, delivery, self._state, self._poster, self._pauses))
            for older, told in v2_takers:
                delivery = _delivery("v2", str(older.id), told, line, treatment)
                errands.append(V2Errand(older, told, treatment, delivery, self._state, self._poster))
        self._state.deliveries.extend(errand.delivery for errand in errands)
        start = partial(self._start, errands)
        if treatment.holder is None:
            start(None)
        elif release := hold(treatment.holder, start, self._speed):
            self._spawn(release)
        return len(takers) + len(v2_takers)

    async def settled(self) -> None:
        """Returns once nothing is on its way any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Gives up everything that is on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, errands: list[V3Errand | V2Errand], reconciled_at: datetime | None) -> None:
        for errand in errands:
            self._spawn(errand.run(reconciled_at))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _delivery(
    api: str, subscription_id: str, telling: V3Telling | V2Telling | Verbatim, line: str | None, treatment: Treatment
) -> Delivery:
    return Delivery(
        telling.event_id,
        telling.event_type,
        line,
        subscription_id,
        state="held" if treatment.holder else "sending",
        api=api,
        faults=treatment.kinds,
    )
