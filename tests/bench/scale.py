"""Sizes of a run."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.sheet import DIY, FLOOR, RELAY


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of a run."""

    rounds: int
    seconds: float
    """Length of a load."""
    routed: int
    """Events that wait for the relay's router; a tenth of it for an arq worker."""
    pushed: int
    """Deliveries to a sink; a tenth of it for the DIY service."""
    stored: int
    """Events in the measurement of memory."""
    rates: tuple[float, ...]
    """Events a second at which latency is measured."""
    backlogs: tuple[int, ...]
    waiting: int
    """Deliveries that keep a worker busy during another measurement."""
    lanes: int
    """Lanes of the isolation part; a tenth of them fail."""
    soak: float
    """Length of the soak in seconds."""
    is_wide: bool = True
    """True if variants are measured: processes, sizes, growth."""
    compared: tuple[str, ...] = (RELAY, FLOOR, DIY)
    """Systems that are measured."""

    def measured(self, *systems: str) -> list[str]:
        """Return the systems among `systems` that are measured, in that order."""
        return [system for system in systems if system in self.compared]


FULL = Scale(3, 4.0, 60_000, 20_000, 20_000, (50, 300, 1000), (1000, 100_000, 1_000_000), 250_000, 200, 300.0)
SHORT = Scale(1, 0.7, 6000, 2000, 20_000, (50, 300), (1000, 10_000), 30_000, 40, 4.0, is_wide=False)
SMOKE = Scale(1, 0.2, 300, 100, 200, (100,), (100,), 15_000, 20, 0.3, is_wide=False, compared=(RELAY,))
