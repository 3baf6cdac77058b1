"""`relay docs`: writes the generated pages of the documentation, or checks that they are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.reference import reference_files

app = commands()


@command(app, examples=("relay docs", "relay docs deploy/docs --check"), view=())
def docs(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the pages.")] = Path("deploy/docs"),
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a page is out of date.")
    ] = False,
) -> None:
    """Write the reference: configuration.md, environment.md, commands.md, metrics.md and openapi.json."""
    is_stale = False
    for name, text in reference_files(context.find_root().command).items():
        page = directory / name
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            continue
        is_stale = True
        if check:
            typer.echo(f"{page} is out of date; run: relay docs {directory}", err=True)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
            typer.echo(f"wrote {page}")
    if check and is_stale:
        raise typer.Exit(1)
