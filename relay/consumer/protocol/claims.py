"""Events that were delivered before and are to be delivered again: which are due, and which are claimed together.

Pure bookkeeping of rows of XPENDING.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from ..names import least_idle_of, order_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .replies import Pending


def claimed_together(rows: Iterable[Pending], claim_ms: int) -> list[tuple[int, list[str]]]:
    """Return a member's own entries in groups that it may claim again, each with the idle time from which it may.

    Others may claim those that have been idle for `claim_ms`: so they are claimed only if that has not happened since.
    """
    groups: dict[bool, list[Pending]] = {}
    for row in sorted(rows, key=lambda row: order_of(row.entry)):
        groups.setdefault(row.idle_ms >= claim_ms, []).append(row)
    return [
        (min(row.idle_ms for row in group) if is_late else 0, [row.entry for row in group])
        for is_late, group in groups.items()
    ]


class Claims:
    """Events that a member is about to claim."""

    def __init__(self, member: str, claim_after: float) -> None:
        """`claim_after` is the time, in seconds, after which the events of a silent member are taken over."""
        self.claim_ms = max(round(claim_after * 1000), 1)
        self._due: deque[Pending] = deque()
        self._member = member
        self._began_at = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._due)

    @property
    def begun(self) -> int:
        """Number of times that the next one was begun; 0 if it never was, and if there is none."""
        try:
            return self._due[0].deliveries
        except IndexError:  # cleared by another thread
            return 0

    def clear(self) -> None:
        """Forget them all."""
        self._due.clear()

    def add(self, rows: Iterable[Pending]) -> bool:
        """Add those of `rows` that are due; return True if there are some."""
        due = [self._as_begun(row) for row in rows if row.idle_ms >= self.least_idle(row)]
        self._due.extend(sorted(due, key=lambda row: order_of(row.entry)))
        return bool(due)

    def take(self, want: int) -> list[Pending]:
        """Take the next events: up to `want` that were never begun together, any other alone."""
        rows = [first] = [self._due.popleft()]
        while first.deliveries == 0 and len(rows) < want and self._due:
            if self._due[0].deliveries or self._kind(self._due[0]) != self._kind(first):
                break
            rows.append(self._due.popleft())
        return rows

    def least_idle(self, row: Pending) -> int:
        """Return the idle time, in ms, from which this member may claim an event; at once what is its own."""
        return 0 if row.holder == self._member else least_idle_of(row.holder, self.claim_ms)

    def _kind(self, row: Pending) -> tuple[int, bool]:
        return self.least_idle(row), row.idle_ms >= self.claim_ms  # those of one kind may be claimed together

    def _as_begun(self, row: Pending) -> Pending:
        """Return the row without a delivery that reached this member in a reply that was lost."""
        is_lost_reply = row.holder == self._member and row.idle_ms < (time.monotonic() - self._began_at) * 1000
        return row._replace(deliveries=max(row.deliveries - 1, 0)) if is_lost_reply else row
