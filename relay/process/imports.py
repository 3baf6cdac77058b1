"""Imports that stay as long as the process does."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import modules without the garbage collector, and leave what they made out of later collections.

    The collector would go through everything that is already imported again and again, and free next to nothing: a
    third of the CPU time in which a worker starts.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
