"""`relay schemas`: writes the schemas for subscribers, or checks that they are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.docs import write_files

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
    from relay.web.api.schemas.files import schema_files  # noqa: PLC0415  all models of Linq's SDK: seconds

    files = schema_files()
    of_no_event = [path for path in directory.glob("events/**/*.json") if str(path.relative_to(directory)) not in files]
    is_stale = write_files(directory, files, f"relay schemas {directory}", check=check)
    for path in of_no_event:
        is_stale = True
        if check:
            typer.echo(f"{path} is of no event any more; run: relay schemas {directory}", err=True)
        else:
            path.unlink()
            typer.echo(f"deleted {path}")
    if check and is_stale:
        raise typer.Exit(1)
