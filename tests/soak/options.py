"""Options of a soak, and how its handlers treat an event: a function of its number."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "soak"
STREAM = f"relay:topic:{TOPIC}"
_SECONDS = 0.003  # that any other event takes


class Treatment(StrEnum):
    """What a handler does with an event."""

    QUICK = "quick"
    SLOW = "slow"
    """Takes longer than `claim_after`: its member must renew its claims."""
    FAIL = "fail"
    """Raises an error, each time: the event ends as a dead letter."""
    CRASH = "crash"
    """Kills the member, each time, as a bug of its interpreter or a lack of memory would: a dead letter as well."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run."""

    events: int
    seed: int
    rate: float
    """Events a second."""
    directory: Path
    languages: tuple[str, ...]
    members: int = 4
    """Members of each group."""
    claim_after: float = 10.0
    max_deliveries: int = 3
    poison_every: int = 4000
    """One event of so many fails always, and one kills its member always; 0: none does."""
    slow_every: int = 5000

    @property
    def slow_seconds(self) -> float:
        """Return how long a slow event takes."""
        return 1.3 * self.claim_after

    @property
    def seconds(self) -> float:
        """Return how long traffic lasts."""
        return self.events / self.rate

    def treatment_of(self, number: int) -> Treatment:
        """Return what a handler does with an event; the members' programs do the same."""
        if self.poison_every and number % self.poison_every == self.poison_every // 3:
            return Treatment.FAIL
        if self.poison_every and number % self.poison_every == 2 * self.poison_every // 3:
            return Treatment.CRASH
        if self.slow_every and number % self.slow_every == self.slow_every // 2:
            return Treatment.SLOW
        return Treatment.QUICK

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of the members' programs."""
        return {
            "TOPIC": TOPIC,
            "START": "0",
            "CLAIM_AFTER": f"{self.claim_after:g}",
            "MAX_DELIVERIES": str(self.max_deliveries),
            "SOAK_POISON_EVERY": str(self.poison_every),
            "SOAK_SLOW_EVERY": str(self.slow_every),
            "SOAK_SLOW_SECONDS": f"{self.slow_seconds:g}",
            "SOAK_SECONDS": f"{_SECONDS:g}",
        }
