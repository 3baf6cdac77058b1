"""What starting child processes of ours takes."""

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
    """The command line that runs `module` with this interpreter, and not a file of the working directory (`-P`)."""
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
    """For `preexec_fn`: has the kernel send SIGTERM to the child when its parent dies, however it dies (Linux only)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
