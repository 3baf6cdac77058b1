"""The delivery loop of a lane that shares its flow control with the lanes of its subscription on other shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.delivery.lane_worker import LaneWorker
from workers.delivery.sharing.turns import LOOK_AGAIN

if TYPE_CHECKING:
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
        return self._turns.load(self)

    def _start_read(self) -> None:
        waiting = len(self._read)
        super()._start_read()
        if len(self._read) < waiting and not (self._read and self._turns.keeps(self)):
            self._pass_turn()

    @property
    def _is_awaited(self) -> bool:
        return self._turns.has_queue or super()._is_awaited  # which counts what is in flight on all shards

    def _freed(self) -> None:
        if not self._turns.is_waiting(self):  # else it has nothing to do before its turn
            super()._freed()
        self._turns.wake_next()

    def _pass_turn(self) -> None:
        """Leave the queue, and wake the next lane there if anything is left for it."""
        if self._turns.leave(self) and self._flow_control.capacity(self._turns.in_flight) > 0:
            self._turns.wake_next()

    async def _wait(self, seconds: float | None) -> None:
        """Wait as any lane; queue for capacity meanwhile if it needs some."""
        if self._needs_capacity:
            self._turns.wait(self)
            await super()._wait(LOOK_AGAIN if seconds is None else min(seconds, LOOK_AGAIN))
            self._turns.begin(self)
        else:
            self._pass_turn()
            await super()._wait(seconds)

    @property
    def _needs_capacity(self) -> bool:
        if self._access.is_over or self._access.is_suspended or self._flow_control.is_paused:
            return False
        if self._loop.time() < self._starts_at:
            return False
        has_more = bool(self._read) or self.source.has_next
        return has_more and self._capacity <= 0  # else it waits for something else, as one that may read no more

    async def _finish(self) -> None:
        try:
            await super()._finish()
        finally:
            self._turns.part(self)
