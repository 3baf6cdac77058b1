"""Command lines, ports and death signals for child processes of the relay."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs `module` with this interpreter; `-P` ignores files of the working directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port of 127.0.0.1 for a child process while the context is open.

    A socket is bound to the port and never listens. The kernel then gives the port to no other process that asks for
    any free one, and to no outgoing connection. A process that names the port can listen on it, again and again, if it
    sets SO_REUSEADDR, as asyncio, uvicorn and Redis do (Linux: https://man7.org/linux/man-pages/man7/socket.7.html).
    Other systems refuse that, so there the socket is closed at once.
    """
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        port: int = reservation.getsockname()[1]
        if sys.platform != "linux":
            reservation.close()
        yield port


def death_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel send SIGTERM to the child when its parent dies; None without Linux."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
