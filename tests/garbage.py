"""Garbage: what a program drops and only Python's cyclic collector frees, which may take it very long.

A worker collects old objects rarely (`relay.process.resources.gc_tuning`), so what it drops often must be in no cycle.
"""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def ignore_former_objects() -> None:
    """Leave what exists out of the collector's work: after thousands of tests a look at all of it takes seconds."""
    gc.freeze()


@contextmanager
def garbage_of(*modules: str) -> Iterator[Counter[str]]:
    """Yield the number of objects by type, filled at the end: those of types of `modules` that were left in cycles."""
    found: Counter[str] = Counter()
    ignore_former_objects()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith(modules))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
