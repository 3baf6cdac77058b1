"""How often a process looks for cyclic garbage, once it has started and handles events."""

from __future__ import annotations

import gc

# Containers made and not yet dropped before Python looks for cycles among them. Batches of events are thousands of them
# and none is in a cycle: with Python's own 700 the looking is 15 % of what an event costs the router.
_THRESHOLD = 10_000


def tune_gc() -> None:
    """Looks for garbage seldom, and never among what exists now, which lives as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
