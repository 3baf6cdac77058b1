"""Progress on standard error, so that it is never mixed with what a command prints."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress


def progress(*, disable: bool = False) -> Progress:
    """Return progress bars that disappear when they end."""
    return Progress(console=Console(stderr=True), transient=True, disable=disable)
