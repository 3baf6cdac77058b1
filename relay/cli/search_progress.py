"""The progress of a search through topics, and the option that bounds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from relay.cli.output import View
from relay.cli.progress import progress
from relay.services.topics.history.scan import Progress

SecondsOption = Annotated[
    float, typer.Option(min=0, metavar="NUMBER", help="Search for this many seconds at most; 0 is without a limit.")
]


@contextmanager
def search_progress(view: View) -> Iterator[Callable[[Progress], None]]:
    """Show how far a search has come, on a terminal; yields the function to be told."""
    with progress() as bars:
        task = bars.add_task("searching", total=None, visible=False)

        def tell(now: Progress) -> None:
            description = f"searched back to {view.time(now.reached_ms)}, {now.read:,} events, {now.found} found"
            bars.update(task, description=description, visible=True)

        yield tell
