"""Upkeep of a lane by its worker: the bounds of its dead letters, and the time of its last success."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from relay.core.delivery.outcome import DeadLettered, Outcome
from relay.store.lanes.attempt_log import save_last_success
from relay.store.lanes.dead_letter_bounds import trim_dead_letters

if TYPE_CHECKING:
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Attempt, Verdict
    from workers.delivery.lane_access import LaneAccess
    from workers.delivery.session import Session

_BURIED = 200  # dead letters
_SAVE_INTERVAL = 5.0  # seconds


class LaneUpkeep:
    """The upkeep of one lane."""

    def __init__(self, session: Session, subscription: Subscription, access: LaneAccess) -> None:
        self._session = session
        self._subscription = subscription
        self._retry = access.retry
        self._loop = asyncio.get_running_loop()
        self._buried = 0  # dead letters since they were trimmed last
        self._succeeded_ms = 0  # Unix milliseconds of the last success, unless it is stored
        self._save_at = 0.0  # time of the loop's clock

    def settled(self, attempt: Attempt | None, verdict: Verdict) -> None:
        """Take note of a verdict that is written."""
        self._buried += isinstance(verdict, DeadLettered)
        if attempt is not None and attempt.outcome is Outcome.DELIVERED:
            self._succeeded_ms = attempt.ended_ms

    async def do(self) -> None:
        """Do what is due."""
        if self._buried >= _BURIED:
            await self._trim_dead_letters()
        if self._succeeded_ms and self._loop.time() >= self._save_at:
            await self._save_last_success()

    async def _trim_dead_letters(self) -> None:
        """Keep the bounds of the dead letters after every 200: retention comes once a minute."""
        self._buried = 0
        name, bounds = self._subscription.name, self._subscription.dead
        is_alarm = self._subscription.shadow_of is None
        trim = partial(trim_dead_letters, self._session.redis, name, bounds, self._session.now_ms(), is_alarm=is_alarm)
        await self._retry("trimming dead letters", trim)

    async def _save_last_success(self) -> None:
        """Store the time of the last success now and then, and not for each: it is for operators."""
        at_ms, self._succeeded_ms = self._succeeded_ms, 0
        self._save_at = self._loop.time() + _SAVE_INTERVAL
        save = partial(save_last_success, self._session.redis, self._subscription.name, at_ms)
        await self._retry("saving the last success", save)
