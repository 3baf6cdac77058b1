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
    files = reference_files(context.find_root().command)
    if write_files(directory, files, f"relay docs {directory}", check=check) and check:
        raise typer.Exit(1)


def write_files(directory: Path, files: dict[str, str], command_line: str, *, check: bool) -> bool:
    """Write the files that differ, or with `check` name the command that does; return True if any differs."""
    is_stale = False
    for name, text in files.items():
        path = directory / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        is_stale = True
        if check:
            typer.echo(f"{path} is out of date; run: {command_line}", err=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            typer.echo(f"wrote {path}")
    return is_stale
