"""The delivery loop of a lane that shares its flow control with the lanes of its subscription on other shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.delivery.lane_worker import LaneWorker
from workers.delivery.sharing.turns import LOOK_AGAIN

if TYPE_CHECKING:
    import asyncio

    from relay.store.lanes.delivery import Delivery
    from workers.delivery.sharing.flow_control import SharedFlowControl


class SharingLaneWorker(LaneWorker):
    """The worker of one lane of several, for one version of its subscription."""

    def _limits(self) -> SharedFlowControl:
        course = self._session.course
        assert course is not None  # noqa: S101  it is for sessions that have one
        shared = course.flow_control(self._session, self._subscription)
        self._turns = shared.turns
        self._turns.join(self)
        return shared

    def look(self) -> None:
        """Look whether it has capacity now."""
        self._changed.set()

    @property
    def _load(self) -> tuple[int, int]:
        return self._turns.in_flight, self._turns.before(self)

    def _start(self, delivery: Delivery) -> None:
        super()._start(delivery)
        self._turns.leave(self)

    def _done(self, task: asyncio.Task[None]) -> None:
        super()._done(task)
        self._turns.wake_next()

    async def _wait(self, seconds: float | None) -> None:
        """Wait as any lane; queue for capacity meanwhile if it needs some."""
        if self._needs_capacity:
            self._turns.wait(self)
            await super()._wait(LOOK_AGAIN if seconds is None else min(seconds, LOOK_AGAIN))
            self._turns.begin(self)
        else:
            self._turns.leave(self)
            await super()._wait(seconds)

    @property
    def _needs_capacity(self) -> bool:
        if self._access.is_over or self._access.is_suspended or self._flow_control.is_paused:
            return False
        if self._loop.time() < self._starts_at:
            return False
        return bool(self._read) or self.source.has_next

    async def _finish(self) -> None:
        try:
            await super()._finish()
        finally:
            self._turns.part(self)
