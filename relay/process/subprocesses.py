"""Start of child processes: command line, ports, signal on the parent's death."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs `module` with this interpreter; `-P` ignores files of the working directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that nobody listens on, each another one."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def death_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel send SIGTERM to the child when its parent dies; None outside Linux."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
