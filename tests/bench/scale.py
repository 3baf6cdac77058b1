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
    subscriptions: int
    """Subscriptions of the lists, and of a relay with many."""
    listed: int
    """Events in the topic of the lists."""
    buried: int
    """Dead letters of the lists."""
    requests: int
    """Requests to each list."""
    configured: int = 20_000
    """Subscriptions of a relay of which few are active."""
    active: int = 100
    """Subscriptions of these that get events."""
    idle: float = 60.0
    """Seconds of a measurement at rest: in a minute each periodic job runs."""
    is_wide: bool = True
    """True if variants are measured: processes, sizes, growth."""
    compared: tuple[str, ...] = (RELAY, FLOOR, DIY)
    """Systems that are measured."""

    def measured(self, *systems: str) -> list[str]:
        """Return the systems among `systems` that are measured, in that order."""
        return [system for system in systems if system in self.compared]


FULL = Scale(
    rounds=3,
    seconds=4.0,
    routed=60_000,
    pushed=20_000,
    stored=20_000,
    rates=(50, 300, 1000),
    backlogs=(1000, 100_000, 1_000_000),
    waiting=250_000,
    lanes=200,
    soak=300.0,
    subscriptions=1000,
    listed=1_000_000,
    buried=100_000,
    requests=200,
)
SHORT = Scale(
    rounds=1,
    seconds=0.7,
    routed=6000,
    pushed=2000,
    stored=20_000,
    rates=(50, 300),
    backlogs=(1000, 10_000),
    waiting=30_000,
    lanes=40,
    soak=4.0,
    subscriptions=100,
    listed=20_000,
    buried=5000,
    requests=20,
    configured=2000,
    active=20,
    idle=5.0,
    is_wide=False,
)
SMOKE = Scale(
    rounds=1,
    seconds=0.2,
    routed=300,
    pushed=100,
    stored=200,
    rates=(100,),
    backlogs=(100,),
    waiting=15_000,
    lanes=20,
    soak=0.3,
    subscriptions=5,
    listed=200,
    buried=50,
    requests=2,
    configured=20,
    active=10,
    idle=0.2,
    is_wide=False,
    compared=(RELAY,),
)
