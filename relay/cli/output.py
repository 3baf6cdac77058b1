"""The output of commands, on standard output: tables for people, lines for other programs, JSON.

On a terminal a table that does not fit becomes blocks, one for each record. Elsewhere (a pipe, a file) each record is
one line of whatever length, without colour, and no cell is shortened.
"""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import to_json
from rich.cells import cell_len

from relay.cli import terminal
from relay.services.wording import counted as counted  # noqa: PLC0414  commands take it from here

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VIEW_OPTIONS: dict[str, Any] = {
    "utc": Annotated[bool, typer.Option("--utc", help="Show times in UTC, not in this machine's zone.")],
    "wide": Annotated[bool, typer.Option("--wide", help="Show tables as tables, however wide.")],
    "json": Annotated[bool, typer.Option("--json", help="Print JSON.")],
}
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_GAP = "  "


@dataclass(frozen=True, slots=True)
class View:
    """The form of the output that an operator chose."""

    utc: bool = False
    wide: bool = False
    json: bool = False

    def time(self, ms: float | None, empty: str = "") -> str:
        """Return Unix milliseconds as a time with its zone; `empty` for None and 0."""
        if not ms:
            return empty
        at = datetime.fromtimestamp(ms / 1000, UTC)
        return (at if self.utc else at.astimezone()).isoformat(" ", "seconds")


def print_json(value: Any) -> None:
    """Print `value` as JSON, in ASCII where standard output is not UTF-8."""
    text = to_json(value, indent=2, bytes_mode="utf8").decode()
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if not encoding.lower().replace("_", "-").startswith("utf"):
        text = json_text.dumps(json_text.loads(text), indent=2)
    typer.echo(text)


def say(text: str, **style: Any) -> None:
    """Print a line for people, in colour on a terminal."""
    typer.echo(terminal.paint(printable(text), **style))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], view: View | None = None) -> None:
    """Print a table, or blocks where it does not fit."""
    rows = [list(row) for row in rows]
    cells = [[_cell(value) for value in row] for row in rows]
    typer.echo(terminal.paint(printable(title), bold=True))
    if not rows:
        typer.echo("  none\n")
        return
    numeric = [
        all(isinstance(row[n], int) and not isinstance(row[n], bool) for row in rows) for n in range(len(columns))
    ]
    lines = _aligned([list(columns), *cells], numeric)
    is_wide = view is not None and view.wide
    if terminal.is_terminal() and not is_wide and max(map(cell_len, lines)) > terminal.width():
        lines = _blocks(columns, cells)
    else:
        lines[0] = terminal.paint(lines[0], dim=True)
    typer.echo("\n".join(lines) + "\n")


def print_fields(title: str, fields: Mapping[str, object], view: View, labels: Mapping[str, str] | None = None) -> None:
    """Print one record, a field a line; `..._at` are Unix milliseconds and shown as times.

    `labels` are the words for fields whose names, which are those of the JSON, do not speak for themselves.
    """
    shown = {_label(name, labels or {}): _moment(name, value, view) for name, value in fields.items()}
    typer.echo(terminal.paint(printable(title), bold=True))
    lines = _aligned([[name, _cell(value)] for name, value in shown.items()], [False, False])
    typer.echo("\n".join(lines) + "\n")


def _label(name: str, labels: Mapping[str, str]) -> str:
    return labels.get(name) or name.removesuffix("_at").replace("_", " ")


def _moment(name: str, value: object, view: View) -> object:
    return view.time(value) if name.endswith("_at") and isinstance(value, int) else value


def _cell(value: object) -> str:
    """Return a cell's text, in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else " ".join(printable(str(value)).split())


def _aligned(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    """Return the rows as lines, with columns of one width; numbers are aligned to the right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = [
            " " * (width - cell_len(cell)) + cell if is_number else cell + " " * (width - cell_len(cell))
            for cell, width, is_number in zip(row, widths, numeric, strict=True)
        ]
        lines.append(_GAP.join(padded).rstrip())
    return lines


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a block of lines for each row, without the empty cells."""
    width = max(map(cell_len, columns))
    lines: list[str] = []
    for row in rows:
        if lines:
            lines.append("")
        for column, cell in zip(columns, row, strict=True):
            if cell:
                lines.append(f"{terminal.paint(column.ljust(width), dim=True)}{_GAP}{cell}")
    return lines


def printable(text: str) -> str:
    """Return `text` with control characters escaped: text from outside must not reach a terminal as commands."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else repr(character)[1:-1] for character in text
    )


def changed_or_would_be(verb: str, count: int, *, dry_run: bool) -> dict[str, Any]:
    """Return the JSON of a number of changes: a dry run has `would_drop` in place of `dropped`."""
    if dry_run:
        return {"dry_run": True, f"would_{verb}": count}
    return {f"{verb}ped" if verb.endswith("p") else f"{verb}ed": count}
