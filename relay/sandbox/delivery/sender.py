"""Fan-out of events: one delivery for each matching subscription, all in parallel.

The effects of the active faults on an event are decided once, before any of its deliveries starts. A delivery then
runs as a task of its own with its own retries (`v3.py`, `v2.py`), so a slow subscriber delays no other delivery.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from relay.sandbox.delivery.v2 import V2DeliveryTask, v2_targets
from relay.sandbox.delivery.v3 import Backoff, V3DeliveryTask, v3_targets
from relay.sandbox.faults.delay import delay_event
from relay.sandbox.state import Delivery

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime

    from relay.sandbox.delivery.post import Poster
    from relay.sandbox.events.event import RawEvent, SandboxEvent, V2Event, V3Event
    from relay.sandbox.faults.active import DeliveryEffects
    from relay.sandbox.state import SandboxState


class Deliveries:
    """All deliveries that are in flight."""

    def __init__(self, state: SandboxState, poster: Poster, speed: float, seed: int) -> None:
        """`speed` divides every delay; `seed` makes the jitter repeatable."""
        self._state = state
        self._poster = poster
        self._speed = speed
        self._backoff = Backoff(speed, seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self.events = 0
        """Number of events so far that matched at least one subscription."""

    def send(self, event: SandboxEvent) -> int:
        """Start the deliveries of one event; return the number of subscriptions that match it."""
        v3_matches, v2_matches = v3_targets(event, self._state), v2_targets(event, self._state)
        if not v3_matches and not v2_matches:
            return 0
        self.events += 1
        effects = self._state.faults.effects_on_event(event.event_type, event.line)
        if effects.is_lost:
            return 0
        line, tasks = event.line, list[V3DeliveryTask | V2DeliveryTask]()
        for _ in range(effects.copies):
            for v3_subscription, v3_event in v3_matches:
                delivery = _delivery("v3", v3_subscription.id, v3_event, line, effects)
                tasks.append(
                    V3DeliveryTask(
                        v3_subscription, v3_event, effects, delivery, self._state, self._poster, self._backoff
                    )
                )
            for v2_subscription, v2_event in v2_matches:
                delivery = _delivery("v2", str(v2_subscription.id), v2_event, line, effects)
                tasks.append(V2DeliveryTask(v2_subscription, v2_event, effects, delivery, self._state, self._poster))
        self._state.deliveries.extend(task.delivery for task in tasks)
        start = partial(self._start, tasks)
        if effects.delayed_by is None:
            start(None)
        elif release := delay_event(effects.delayed_by, start, self._speed):
            self._spawn(release)
        return len(v3_matches) + len(v2_matches)

    async def settled(self) -> None:
        """Wait until no delivery is in flight."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Cancel all deliveries that are in flight."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, tasks: list[V3DeliveryTask | V2DeliveryTask], reconciled_at: datetime | None) -> None:
        for task in tasks:
            self._spawn(task.run(reconciled_at))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _delivery(
    api: str, subscription_id: str, event: V3Event | V2Event | RawEvent, line: str | None, effects: DeliveryEffects
) -> Delivery:
    return Delivery(
        event.event_id,
        event.event_type,
        line,
        subscription_id,
        state="held" if effects.delayed_by else "sending",
        api=api,
        faults=effects.kinds,
    )
