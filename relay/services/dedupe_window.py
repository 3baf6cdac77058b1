"""The dedupe window that counts: that of the ingresses that run, whatever RELAY_DEDUPE_WINDOW is in this process.

An ingress makes the claims on event ids, and looks them up on former shards, for its own window. A command runs in a
shell that may have another one, or none. So each ingress reports its window (`store.fleet.processes`), and the longest
counts; the window of this process does only where no ingress runs, and for one of a release that does not report it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from relay.config.admin_address import INGRESS
from relay.core.durations import format_duration
from relay.store.fleet.processes import processes

if TYPE_CHECKING:
    from relay.services.context import Context


class DedupeWindow(NamedTuple):
    """The time for which the ids of events are kept."""

    ms: int
    note: str
    """The processes whose windows differ, in words; empty if all agree."""


async def dedupe_window(context: Context) -> DedupeWindow:
    """Return the dedupe window that counts now."""
    own_ms = context.dedupe_window_ms
    running = [each for each in await processes(context.redis, context.now_ms) if each.role == INGRESS]
    windows = Counter(own_ms if each.dedupe_window_ms is None else each.dedupe_window_ms for each in running)
    longest_ms = max(windows, default=own_ms)
    return DedupeWindow(longest_ms, _note(windows, longest_ms, own_ms))


def _note(windows: Counter[int], longest_ms: int, own_ms: int) -> str:
    if not windows:
        return f"no ingress runs: RELAY_DEDUPE_WINDOW of this shell counts, {_in_words(own_ms)}"
    if len(windows) > 1:
        found = ", ".join(f"{_in_words(ms)} at {count}" for ms, count in sorted(windows.items()))
        return f"RELAY_DEDUPE_WINDOW differs between the ingresses: {found}; the longest counts"
    if longest_ms == own_ms:
        return ""
    return (
        f"RELAY_DEDUPE_WINDOW is {_in_words(longest_ms)} at the ingresses and {_in_words(own_ms)} in this shell: "
        "that of the ingresses counts"
    )


def _in_words(milliseconds: int) -> str:
    return format_duration(milliseconds / 1000)
