"""Titles, labelled rows and wrapped text, for commands that show one thing, such as an event."""

from __future__ import annotations

import textwrap

import typer

from relay.cli import terminal
from relay.cli.output import printable, say

_LABEL = 10  # columns


def title(text: str) -> None:
    """Print a title, after an empty line."""
    say("")
    say(text, bold=True)


def row(label: str, text: str, width: int = _LABEL) -> None:
    """Print a label and a text."""
    lead = label.ljust(max(width, _LABEL))
    painted = terminal.paint(printable(lead), dim=True)
    wrapped(f"{lead}  {text}", "  ", " " * (len(lead) + 4), lead=(lead, painted))


def wrapped(text: str, first: str, rest: str, lead: tuple[str, str] | None = None) -> None:
    """Print text, in lines of the terminal's width if there is one; `lead` is its beginning, and the same in colour."""
    lines = [first + printable(text)]
    if terminal.is_terminal():
        lines = textwrap.wrap(
            printable(text), terminal.width(), initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
        )
    if lead is not None and lines and lines[0].startswith(first + printable(lead[0])):
        lines[0] = first + lead[1] + lines[0][len(first + printable(lead[0])) :]
    typer.echo("\n".join(lines))
