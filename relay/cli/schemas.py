"""`relay schemas`: writes the schemas for subscribers, or checks that they are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.docs import write_files
from relay.cli.interrupts import importing
from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    from relay.web.api.schemas import files
else:
    files = LazyModule("relay.web.api.schemas.files")  # all models of Linq's SDK: seconds

app = commands()


@command(app, examples=("relay schemas", "relay schemas deploy/schemas --check"), view=())
def schemas(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the schemas.")] = Path(
        "deploy/schemas"
    ),
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a file is out of date.")
    ] = False,
) -> None:
    """Write the JSON Schemas of events, from Linq's SDK as it is installed, and the AsyncAPI document."""
    with importing():
        wanted = files.schema_files()
    of_no_event = [
        path for path in directory.glob("events/**/*.json") if str(path.relative_to(directory)) not in wanted
    ]
    is_stale = write_files(directory, wanted, f"relay schemas {directory}", check=check)
    for path in of_no_event:
        is_stale = True
        if check:
            typer.echo(f"{path} belongs to no event type any more; run: relay schemas {directory}", err=True)
        else:
            path.unlink()
            typer.echo(f"deleted {path}")
    if check and is_stale:
        raise typer.Exit(1)
