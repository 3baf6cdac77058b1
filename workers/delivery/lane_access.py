"""Access to a lane in Redis, for its worker: every operation is retried until Redis carries it out.

While a key of the lane is of a wrong type (`relay.store.isolation`), the lane is suspended: it starts no delivery, its
operations wait for the repair, and the lanes beside it continue.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from relay.core.errors import StoreError
from relay.store.driver.client import retry_until_redis_answers
from relay.store.isolation import WrongType, checking_types, log_suspended
from relay.store.shadow_marks import ShadowMark, mark_shadow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.store.isolation import WrongKey
    from relay.store.lanes.lane import Lane
    from workers.delivery.session import Session

_LOG_INTERVAL = 60.0  # seconds

log = structlog.get_logger()
Answer = TypeVar("Answer")


class StillSuspended(StoreError):
    """The worker must end, and the lane is not repaired yet."""

    def __init__(self) -> None:
        super().__init__("the lane is suspended")


class LaneAccess:
    """The operations of one lane's worker."""

    def __init__(self, session: Session, lane: Lane) -> None:
        self.is_ending = False
        """True once the worker was told to end."""
        self._session = session
        self._lane = lane
        self._suspended = 0  # operations that wait for the repair
        self._looking = asyncio.Lock()

    @property
    def is_over(self) -> bool:
        """True once the worker must end."""
        return self.is_ending or self._session.is_over

    @property
    def is_suspended(self) -> bool:
        """True while a key of the lane is of a wrong type."""
        return self._suspended > 0

    async def retry(
        self, what: str, attempt: Callable[[], Awaitable[Answer]], on_error: Callable[[], None] | None = None
    ) -> Answer:
        """Return the result of `attempt`, as `retry_until_redis_answers` does, and also after a repair of the lane.

        Raises:
            StillSuspended: the worker must end before the lane is repaired.
        """
        while True:
            try:
                return await retry_until_redis_answers(what, lambda: checking_types(attempt()), on_error)
            except WrongType:
                if on_error is not None:
                    on_error()
                await self._wait_for_repair()

    async def mark_shadow(self, original: str) -> None:
        """Mark the lane as a shadow of another subscription."""
        await self.retry(
            "marking a shadow", partial(mark_shadow, self._session.redis, self._lane.name, ShadowMark(original))
        )

    async def _wait_for_repair(self) -> None:
        self._suspended += 1
        try:
            async with self._looking:
                await self._look_until_repaired()
        finally:
            self._suspended -= 1
        if not self.is_suspended:
            log.info("lane.recovered", subscription=self._lane.name)

    async def _look_until_repaired(self) -> None:
        """Look at the types of the lane's keys until all are right."""
        loop, logged_at = asyncio.get_running_loop(), 0.0
        logged: list[WrongKey] = []
        while True:
            if self.is_over:
                raise StillSuspended
            wrong = await retry_until_redis_answers("checking the keys of a lane", self._lane.wrong_keys)
            if wrong and (wrong != logged or loop.time() - logged_at > _LOG_INTERVAL):
                log_suspended("lane", self._lane.name, wrong)
                logged, logged_at = wrong, loop.time()
            await asyncio.sleep(self._session.timings.suspended_poll)  # also once repaired: an error must not spin
            if not wrong:
                return
