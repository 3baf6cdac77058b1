"""The terminal, if there is one: its width, its colours, and what its encoding can show."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    import typer
else:
    typer = LazyModule("typer")  # a role that serves does without, unless it fails on a terminal


def is_terminal() -> bool:
    """Return True if standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def width() -> int:
    """Return the columns of the terminal."""
    return shutil.get_terminal_size().columns


def paint(text: str, **style: Any) -> str:
    """Return `text` in colour, if standard output is a terminal that is to have colours (NO_COLOR, TERM=dumb)."""
    if not is_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return typer.style(text, **style)


def fail(message: str) -> None:
    """Print an error on standard error, in red on a terminal."""
    if sys.stderr is None:
        return
    has_colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    sys.stderr.write(f"{typer.style(message, fg='red') if has_colour else message}\n")
    sys.stderr.flush()


def escape_what_cannot_be_encoded() -> None:
    """Write characters that the encoding of standard output does not have as escapes, in place of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> bool:
    """Write what is buffered. Return False if the reader has closed the pipe; later output is then discarded."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
