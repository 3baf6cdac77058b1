"""The reaction to what Linq does: one look soon after its account events, and the repairs that relay.toml allows.

The router notes the events (`relay.store.account_events`); what follows from them is decided by `bootstrap.reactions`.
The job has a lease, so one worker of all reacts. An event stays noted until a look has dealt with it, also after a
failure of Linq's API or the death of a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.bootstrap.reactions import last_words, needs_look, notice_of, settled
from relay.store.account_events import AccountEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.store.account_events import AccountEvent
    from relay.store.driver.client import Redis
    from workers.maintenance.linq.drift_check import DriftCheck

_WITHOUT_KEY_MS = 60_000  # time for which an event waits for a worker that has Linq's key

log = structlog.get_logger()


class LinqReactions:
    """The reaction to the account events of Linq's that concern the relay."""

    def __init__(
        self, redis: Redis, rules: RulesInForce, settings: Settings, drift_check: DriftCheck, clock: Callable[[], float]
    ) -> None:
        """`clock` gives Unix seconds."""
        self._settings = settings
        self._events = AccountEvents(redis)
        self._rules = rules
        self._drift_check = drift_check
        self._clock = clock
        self._logged = b""  # the last event in the log of this process

    @property
    def _key(self) -> str | None:
        """The key for Linq's v3 API, empty if only accounts with names have one; None if this worker has none."""
        key = self._settings.linq_api_v3_api_key
        has_any = key is not None or self._rules.current.config.linq.accounts
        if not has_any or not self._drift_check.is_possible:
            return None
        return key.get_secret_value() if key is not None else ""

    async def react(self) -> None:
        """Look at Linq if an event asks for it and the pace allows it; repair what may be repaired."""
        now_ms, due = round(self._clock() * 1000), await self._events.next_look()
        if due is None or due > now_ms:
            return
        events = await self._events.waiting()
        key = self._key
        if key is None:
            await self._leave_to_others(events, now_ms)
            return
        self._log(events, key)
        survey, failed = None, frozenset[str | None]()
        if any(map(needs_look, events)):
            await self._events.spend_look(now_ms)
            words = last_words(events)
            released = {line for line, is_released in words.items() if is_released}
            survey, failed = await self._drift_check.check_told(released)
        done = settled(events, survey, failed, round(self._clock() * 1000))
        await self._events.drop([event.entry for event in done])

    async def next_look(self) -> int | None:
        """Return when the next look is due, Unix milliseconds; None if nothing waits that this worker can do."""
        due = await self._events.next_look()
        return None if self._key is None else due

    async def _leave_to_others(self, events: Sequence[AccountEvent], now_ms: int) -> None:
        late = [event for event in events if now_ms - event.at_ms > _WITHOUT_KEY_MS]
        if late:
            types = sorted({event.type for event in late})
            note = "no worker has LINQ_API_V3_API_KEY; see relay bootstrap status"
            log.warning("linq.unanswered", events=len(late), types=types, note=note)
            await self._events.drop([event.entry for event in late])

    def _log(self, events: Sequence[AccountEvent], key: str) -> None:
        for event in events:
            if event.entry > self._logged:
                level, fields = notice_of(event, key, heals=self._rules.current.config.linq.heal)
                if level == "error":
                    log.error("linq.event", **fields)
                elif level == "warning":
                    log.warning("linq.event", **fields)
                else:
                    log.info("linq.event", **fields)
                self._logged = event.entry
