"""What every child process of ours shares."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def python(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` with this interpreter, and not a file of the working directory (`-P`)."""
    return [sys.executable, "-P", "-m", module, *arguments]


def death_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: has the kernel send SIGTERM to the child when its parent dies, however it dies (Linux only)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
