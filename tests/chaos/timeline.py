"""Counts of occurrences in slices of a twentieth of a second of the monotonic clock, which processes share."""

from __future__ import annotations

from collections import Counter
from typing import Any

SLICES = 20
"""Slices of a second."""


class Timeline:
    """Occurrences by name and time."""

    def __init__(self) -> None:
        self._slices: dict[str, Counter[int]] = {}

    def record(self, what: str, at: float, count: int = 1) -> None:
        """Add `count` occurrences at `at` monotonic seconds."""
        self._slices.setdefault(what, Counter())[int(at * SLICES)] += count

    def count(self, what: str, since: float, until: float) -> int:
        """Count the occurrences from the slice of `since` until before that of `until`."""
        slices = self._slices.get(what, Counter())
        return sum(count for at, count in slices.items() if int(since * SLICES) <= at and at + 1 <= until * SLICES)

    def total(self, what: str) -> int:
        """Count all occurrences."""
        return sum(self._slices.get(what, Counter()).values())

    def first_after(self, what: str, moment: float) -> float | None:
        """Return the seconds from `moment` until the next occurrence; None if there is none."""
        first = int(moment * SLICES)
        later = [at for at in self._slices.get(what, ()) if at >= first]
        return max(0.0, min(later) / SLICES - moment) if later else None

    def encode(self) -> dict[str, list[tuple[int, int]]]:
        """Return a form that JSON can hold."""
        return {what: sorted(slices.items()) for what, slices in self._slices.items()}

    @classmethod
    def decode(cls, data: dict[str, Any]) -> Timeline:
        """Rebuild a timeline from the form that `encode` returns."""
        timeline = cls()
        timeline._slices = {what: Counter(dict(map(tuple, slices))) for what, slices in data.items()}
        return timeline
