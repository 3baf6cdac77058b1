"""How much of everything a run measures."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.sheet import DIY, FLOOR, OURS


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of a run."""

    rounds: int
    seconds: float
    """How long a load lasts."""
    routed: int
    """Events that wait for our router; a tenth of it for an arq worker."""
    pushed: int
    """Deliveries to a sink; a tenth of it for the DIY service."""
    stored: int
    """Events whose memory is measured."""
    rates: tuple[float, ...]
    """Events a second at which latency is measured."""
    backlogs: tuple[int, ...]
    waiting: int
    """Deliveries that keep a worker busy while something else is measured."""
    lanes: int
    """Of the isolation run; a tenth of them are ill."""
    soak: float
    """Seconds."""
    is_wide: bool = True
    """Whether variants are measured: processes, sizes, growth."""
    compared: tuple[str, ...] = (OURS, FLOOR, DIY)
    """Whose."""

    def of(self, *whose: str) -> list[str]:
        """Those of `whose` that are measured, in that order."""
        return [who for who in whose if who in self.compared]


FULL = Scale(3, 4.0, 60_000, 20_000, 20_000, (50, 300, 1000), (1000, 100_000, 1_000_000), 250_000, 200, 300.0)
SHORT = Scale(1, 0.7, 6000, 2000, 20_000, (50, 300), (1000, 10_000), 30_000, 40, 4.0, is_wide=False)
SMOKE = Scale(1, 0.2, 300, 100, 200, (100,), (100,), 15_000, 20, 0.3, is_wide=False, compared=(OURS,))
