"""The progress of a search through topics, the options that bound and continue it, and its early end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from relay.cli.output import View
from relay.cli.progress import progress
from relay.core.errors import NotFound
from relay.services.topics.history.find import NotFoundYet
from relay.services.topics.history.scan import Progress

SecondsOption = Annotated[
    float, typer.Option(min=0, metavar="NUMBER", help="Search for this many seconds at most; 0 is without a limit.")
]

CursorOption = Annotated[
    str | None, typer.Option(metavar="CURSOR", help="Continue a search that ended early, as its message says.")
]


@contextmanager
def continued_by(command: str, missing: str, view: View) -> Iterator[None]:
    """Say how to continue if a search ends early: by `relay <command> --cursor ...`; `missing` was not found so far.

    Raises:
        NotFound: the search ended early.
    """
    try:
        yield
    except NotFoundYet as error:
        raise NotFound(
            f"no {missing} was routed since {view.time(error.searched_to_ms)}; "
            f"to search further back: relay {command} --cursor {error.cursor}"
        ) from None


@contextmanager
def search_progress(view: View) -> Iterator[Callable[[Progress], None]]:
    """Show the progress of a search on a terminal; yield the function that reports it."""
    with progress() as bars:
        task = bars.add_task("searching", total=None, visible=False)

        def tell(now: Progress) -> None:
            description = f"searched back to {view.time(now.reached_ms)}, {now.read:,} events, {now.found} found"
            bars.update(task, description=description, visible=True)

        yield tell
