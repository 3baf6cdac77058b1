"""Progress on standard error, so that it is never mixed with what a command prints."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress


def progress(*, disable: bool = False) -> Progress:
    """Return progress bars that disappear when they end; none where standard error is not a terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=disable or not console.is_terminal)
