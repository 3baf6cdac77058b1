"""The lines of `relay listen`: one an event, in 80 columns on a terminal, whole elsewhere."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from relay.cli import terminal
from relay.cli.output import printable
from relay.core.delivery.outcome import Outcome

if TYPE_CHECKING:
    from relay.cli.listening.forward import Sent
    from relay.store.topics.record import Record

_WIDTHS = (8, 28, 13, 11)  # of time, type, line and status; the latency takes the rest of 80
_GAP = "  "


def tell(text: str) -> None:
    """Tell something that is no event, on standard error."""
    typer.echo(printable(text), err=True)


def show_event(record: Record, sent: Sent | None, number: int, *, as_json: bool) -> None:
    """Show an event, and what became of it if it was forwarded, for the time `number`."""
    if as_json:
        typer.echo(json.dumps(_fields(record, sent, number)))
        return
    at = datetime.fromtimestamp(record.at / 1000).astimezone()
    is_terminal = terminal.is_terminal()
    time = at.strftime("%H:%M:%S") if is_terminal else at.isoformat("T", "seconds")
    cells = [time, record.type, record.line or "", _status(sent)]
    if is_terminal:
        cells = [_fitted(cell, width) for cell, width in zip(cells, _WIDTHS, strict=True)]
        cells[3] = terminal.paint(cells[3], fg=_colour(sent)) if sent else cells[3]
    latency = f"{sent.took_ms} ms" if sent else ""
    again = "again" if number > 1 else ""
    typer.echo(
        printable(_GAP.join((*cells, latency, again)).rstrip())
        if not is_terminal
        else _GAP.join((*cells, latency, again)).rstrip()
    )
    if sent is not None and sent.detail:
        note = " ".join(printable(sent.detail).split())
        typer.echo(f"          {note[: terminal.width() - 10]}" if is_terminal else f"  {note}", err=not is_terminal)


def show_body(record: Record) -> None:
    """Show the body of an event, for people."""
    typer.echo(f"{record.type} {record.id} ({record.entry})")
    try:
        typer.echo(printable(json.dumps(record.json(), indent=2, ensure_ascii=False)))
    except ValueError:
        typer.echo(printable(record.body.decode(errors="replace")))


def _status(sent: Sent | None) -> str:
    if sent is None:
        return ""
    return str(sent.status) if sent.status is not None else sent.outcome.value.replace("_", " ")


def _colour(sent: Sent) -> str:
    return "green" if sent.outcome is Outcome.DELIVERED else "red"


def _fitted(text: str, width: int) -> str:
    text = printable(text)
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def _fields(record: Record, sent: Sent | None, number: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "at": record.at,
        "entry": record.entry,
        "id": record.id,
        "type": record.type,
        "line": record.line,
        "chat": record.chat,
    }
    if sent is not None:
        fields |= {
            "attempt": number,
            "outcome": sent.outcome.value,
            "status": sent.status,
            "took_ms": sent.took_ms,
            "detail": sent.detail,
        }
    return fields
