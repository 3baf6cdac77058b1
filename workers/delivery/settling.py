"""Verdicts on one lane's deliveries, their settling, and the bounds of its dead letters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.core.delivery.outcome import DeadLettered, Outcome, RetryAt, decide
from relay.store.isolation import WrongType
from relay.store.lanes.attempts.record import AttemptLimits
from relay.store.lanes.dead_letter_bounds import trim_dead_letters
from relay.store.lanes.delivery import Tries
from relay.store.lanes.settler import Settlement
from workers.delivery.delivery_log import log_attempt, logs_successes
from workers.delivery.lane_access import StillSuspended

if TYPE_CHECKING:
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Attempt, AttemptContext, Verdict
    from relay.store.lanes.delivery import Delivery
    from relay.store.lanes.lane import Lane
    from workers.delivery.lane_access import LaneAccess
    from workers.delivery.session import Session

_BURIED = 200  # dead letters


class LaneSettling:
    """The settling of one lane's deliveries."""

    def __init__(
        self, session: Session, lane: Lane, access: LaneAccess, subscription: Subscription, *, keeps_answers: bool
    ) -> None:
        self._session = session
        self._lane = lane
        self._access = access
        self._subscription = subscription
        self._parts = len(session.home.shards)  # lanes on as many shards, which share the bounds of sizes
        self._limits = AttemptLimits.from_size(subscription.attempts.size // self._parts, keeps_answers=keeps_answers)
        self._logs_successes = logs_successes()
        self._log_attempt = partial(log_attempt, subscription, session.now_ms)
        self._buried = 0  # dead letters since they were trimmed last
        self._succeeded_ms = 0  # Unix milliseconds of the last success, unless it was taken

    @property
    def has_success(self) -> bool:
        """True if there was a success since the last call of `take_last_success`."""
        return self._succeeded_ms > 0

    def take_last_success(self) -> int:
        """Return the time of the last success since the last call, Unix milliseconds; 0 if there was none."""
        at_ms, self._succeeded_ms = self._succeeded_ms, 0
        return at_ms

    def decide(self, delivery: Delivery, attempt: Attempt, context: AttemptContext) -> tuple[Verdict, Tries]:
        """Return the verdict on an attempt, which is logged, and the attempts so far."""
        verdict = decide(attempt, context, self._subscription, self._session.random)
        if self._logs_successes or attempt.outcome is not Outcome.DELIVERED:
            self._log_attempt(delivery, attempt, context, verdict)
        is_uncounted = isinstance(verdict, RetryAt) and not verdict.counts
        tries = Tries(context.tries - is_uncounted, delivery.tries.first_ms or attempt.at_ms, attempt.outcome)
        return verdict, tries

    async def settle(
        self,
        delivery: Delivery,
        tries: Tries,
        verdict: Verdict,
        attempt: Attempt | None,
        *,
        is_probe: bool,
        lingers: bool = False,
    ) -> bool:
        """Write a verdict, which may wait for others if it `lingers`.

        Returns False if the worker must end before the lane is repaired.
        """
        blocks = delivery.chat if self._subscription.block_on_dead else ""
        settlement = Settlement(
            self._lane, delivery, attempt, tries, verdict, self._session.now_ms(), is_probe, self._limits, blocks
        )
        try:
            await self._session.settler.settle(settlement, lingers=lingers)
        except (WrongType, ResponseError):
            try:
                await self._access.retry("settling a delivery", lambda: self._session.settler.settle(settlement))
            except StillSuspended:
                return False
        self._buried += isinstance(verdict, DeadLettered)
        if attempt is not None and attempt.outcome is Outcome.DELIVERED:
            self._succeeded_ms = max(self._succeeded_ms, attempt.ended_ms)
        return True

    @property
    def must_trim(self) -> bool:
        """True if `trim_dead_letters` has something to do: after every 200, since retention comes once a minute."""
        return self._buried >= _BURIED

    async def trim_dead_letters(self) -> None:
        """Keep the bounds of the dead letters, if it must."""
        if not self.must_trim:
            return
        self._buried = 0
        name, bounds = self._lane.name, self._subscription.dead.share(self._parts)
        is_alarm = self._subscription.shadow_of is None
        trim = partial(trim_dead_letters, self._session.redis, name, bounds, self._session.now_ms(), is_alarm=is_alarm)
        await self._access.retry("trimming dead letters", trim)
