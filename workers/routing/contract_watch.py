"""The watch over contracts: the router's counts of what it could read, stored every two seconds, and what they show.

An event costs its counting only; of a full batch every fourth is counted, so that a busy router pays little. What is in
hand when a worker is killed, at most the counts of two seconds, is lost, and nothing follows from it: the next events
are counted again. The first event of a type, of a version, or without a fact that others of its type have is stored at
the end of its batch.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import structlog

from relay.contracts.facts import Readings, tallies_of
from relay.contracts.learning import LOST
from relay.linq.payloads.envelope import OLDEST_V3
from relay.linq.payloads.event_types import V2_TYPES, v3_types
from relay.store.contracts.contracts import Contracts, Known
from relay.store.driver.client import REDIS_ERRORS, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.event import Event
    from relay.store.contracts.contracts import Change
    from relay.store.driver.client import Redis

_INTERVAL = 2.0  # seconds from one storing to the next
_AFTER_ERROR = 10.0
_MAX_TYPES = 1000
_MANY, _OF_MANY = 100, 4  # events of a batch, and how many of them one that is counted stands for

log = structlog.get_logger()


@cache
def known() -> Known:
    """Return the event types and payload versions that this release can read."""
    return Known(types=frozenset({*v3_types(), *V2_TYPES}), versions=frozenset({"v2", OLDEST_V3, "2026-02-03"}))


class ContractWatch:
    """The readings of a router."""

    def __init__(self, redis: Redis, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._contracts = Contracts(redis)
        self._clock = clock
        self._readings = Readings()
        self._due = 0.0  # seconds of the monotonic clock
        self._first = 0  # place of the first event of a full batch that is counted
        self._types: set[str] = set()  # those that were counted here

    def add(self, events: Sequence[tuple[Event, bytes]]) -> None:
        """Count what was read from events, each with its body: of many every fourth, unless there is a new type."""
        types = {event.type for event, _ in events}
        if len(events) >= _MANY and types <= self._types:
            self._first = (self._first + 1) % _OF_MANY
            is_new = self._readings.add(events[self._first :: _OF_MANY], _OF_MANY)
        else:
            is_new = self._readings.add(events)
            self._types = types if len(self._types) > _MAX_TYPES else self._types | types
        if is_new:
            self._due = min(self._due, time.monotonic())

    @property
    def is_due(self) -> bool:
        """True if there is something to store, and the last time was long enough ago."""
        return bool(self._readings) and time.monotonic() >= self._due

    async def store(self) -> None:
        """Add the counts to those in Redis, and log what changed. An error is logged, and they are kept."""
        if not self._readings:
            return
        taken = self._readings.take()
        self._due = time.monotonic() + _INTERVAL
        try:
            changes = await self._contracts.add(tallies_of(taken), known(), round(self._clock() * 1000))
        except REDIS_ERRORS as error:
            self._readings.give_back(taken)
            self._due = time.monotonic() + _AFTER_ERROR
            log.warning("contracts.not_stored", error=describe(error))
            return
        for change in changes:
            _log(change)


def _log(change: Change) -> None:
    event_type, version = change.pair
    if change.is_over:
        log.info("contract.recovered", type=event_type, version=version, change=change.what)
    elif change.what.startswith(LOST):
        log.error(
            "contract.fact_lost",
            type=event_type,
            version=version,
            fact=change.what.removeprefix(LOST),
            note=f"relay contracts show {event_type} has a redacted sample",
        )
    else:
        log.warning(
            "contract.new",
            type=event_type,
            version=version,
            change=change.what,
            note=f"relay contracts show {event_type}, then relay contracts accept {event_type}",
        )
