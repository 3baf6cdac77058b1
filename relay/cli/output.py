"""How commands speak: tables for people, JSON for machines, both on standard output."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import to_json
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDE = 200  # columns where nobody looks at a terminal: lines for grep, not for wrapping

console = Console(width=None if sys.stdout.isatty() else _WIDE)
errors = Console(stderr=True)
"""Where progress is shown; what a command answers is not mixed with it."""

JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def print_json(value: Any) -> None:
    """Prints `value` as JSON."""
    typer.echo(to_json(value, indent=2, bytes_mode="utf8").decode())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; numbers to the right, and the first column, which names the row, never broken."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [list(row) for row in rows]
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(
            isinstance(row[position], int) and not isinstance(row[position], bool) for row in rows
        )
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=position == 0)
    for row in rows:
        # As text, not as Rich's markup: cells may hold what a stranger wrote.
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    console.print(Text(title, style="bold"))
    console.print(table)


def printable(text: str) -> str:
    """`text` with control characters written out: what strangers wrote must not reach a terminal as commands."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else repr(character)[1:-1] for character in text
    )


def local_time(ms: int) -> str:
    """Unix milliseconds as a person reads them."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(count: int, thing: str) -> str:
    """A number of things, such as `1 change` or `2 changes`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
