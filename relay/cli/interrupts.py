"""Ctrl-C where no command runs: exit code 130 and no traceback."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relay.process.imports import lasting_imports

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = 130


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Exit at once on Ctrl-C: while modules are imported, nothing has to be cleaned up.

    An exception would do in most places, but libraries catch or print those that arrive while they are imported.
    """
    if not _has_interrupts():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def importing(*, are_lean: bool = False) -> Iterator[None]:
    """Import what a command needs: Ctrl-C exits at once; for the rest see `lasting_imports`."""
    with exit_on_interrupt(), lasting_imports(are_lean=are_lean):
        yield


def ignore_interrupts() -> None:
    """Let the interpreter end undisturbed, with the exit code of the command."""
    if _has_interrupts():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _has_interrupts() -> bool:
    """Return False in a thread, and where the parent process has SIGINT ignored."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
