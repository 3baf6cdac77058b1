"""`relay shadow`: a shadow compared with the subscription that it shadows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.filters import parsed_past_time
from relay.cli.operator import cli_principal
from relay.cli.output import View, counted, print_fields, print_json, print_table, say
from relay.cli.remote import calls
from relay.cli.remote.access import Via
from relay.config.load import load_settings
from relay.core.durations import format_duration
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries import shadow_report
from relay.services.deliveries.shadow_report import MAX_SHOWN, ShadowReport, Speed

if TYPE_CHECKING:
    from relay.cli.remote.access import Access
    from relay.services.deliveries.shadow_comparison import Difference, Side

app = commands(
    "Compare a shadow with the subscription that it shadows.",
    examples=("relay shadow report support-bot-v2", "relay shadow report support-bot-v2 --since 1h --json"),
)


@command(app, examples=("relay shadow report support-bot-v2", "relay shadow report support-bot-v2 --since 1h --json"))
def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The shadow's name.")],
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only from this time on: 2h or 7d (ago), or 2026-09-14T09:15Z."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=MAX_SHOWN, metavar="NUMBER", help="List this many differing events at most.")
    ] = 20,
    via: Via,
    view: View,
) -> None:
    """Compare status, time and answers of a shadow and its original, event by event.

    Exit code 1 if an event differs, or is missing on one side.
    """
    found = run(_read(via.remote(), name, parsed_past_time(since, "--since"), limit))
    if view.json:
        print_json(summary(found))
    else:
        _print(found, view)
    if found.different or found.missing_in_shadow or found.missing_in_original:
        raise typer.Exit(1)


def summary(found: ShadowReport) -> dict[str, Any]:
    """Return a report for JSON; `_at` is Unix milliseconds."""
    return {
        "shadow": found.shadow,
        "original": found.original,
        "since_at": found.since_ms,
        "compared": found.compared,
        "agreement": found.agreement,
        "same": found.same,
        "same_outcome": found.same_outcome,
        "same_status": found.same_status,
        "answers": found.answers,
        "same_answer": found.same_answer,
        "open": found.open,
        "speed": {"original": found.original_speed._asdict(), "shadow": found.shadow_speed._asdict()},
        "different": found.different,
        "differences": [
            {
                "id": each.event,
                "type": each.type,
                "began_at": each.at_ms,
                "differs": each.differs,
                "original": each.original._asdict(),
                "shadow": each.shadow._asdict(),
            }
            for each in found.differences
        ],
        "missing_in_shadow": found.missing_in_shadow,
        "missing_in_original": found.missing_in_original,
        "missing": [
            {"id": each.event, "type": each.type, "began_at": each.at_ms, "in": each.missing_in, "why": each.why}
            for each in found.missing
        ],
        "shadow_state": found.shadow_state,
    }


def _print(found: ShadowReport, view: View) -> None:
    fields: dict[str, object] = {
        "compared": counted(found.compared, "event"),
        "since_at": found.since_ms,
        "agreement": _share(found.same, found.compared),
        "same outcome": _share(found.same_outcome, found.compared),
        "same status": _share(found.same_status, found.compared),
        "same answer": _share(found.same_answer, found.answers) if found.answers else "no answers kept (compare)",
        "still retried": found.open,
        f"missing in {found.shadow}": found.missing_in_shadow,
        f"missing in {found.original}": found.missing_in_original,
        "shadow is": found.shadow_state,
    }
    print_fields(f"{found.shadow}, a shadow of {found.original}", fields, view)
    speeds = [(name, *_speed(speed)) for name, speed in _sides(found)]
    print_table("Time of an attempt", ("subscription", "p50", "p99"), speeds, view)
    if found.different:
        rows = [
            (each.event, _result(each.original), _result(each.shadow), _differs(each)) for each in found.differences
        ]
        title = f"Events that differ: {found.different}{_limited(len(rows), found.different)}"
        print_table(title, ("event", found.original, found.shadow, "differs"), rows, view)
        for each in found.differences:
            _print_answers(found, each)
    missing = found.missing_in_shadow + found.missing_in_original
    if missing:
        lacking = [(each.event, each.missing_in, each.why) for each in found.missing]
        title = f"Events that only one of them has: {missing}{_limited(len(lacking), missing)}"
        print_table(title, ("event", "missing in", "why"), lacking, view)
    if found.compared and not (found.different or missing):
        say("They agree.", fg="green")
    elif not found.compared:
        say("Nothing to compare yet: both need attempts of the same events.")


def _print_answers(found: ShadowReport, each: Difference) -> None:
    if "answer" in each.differs:
        say(f"Answers to {each.event}:")
        say(f"  {found.original}: {each.original.answer}")
        say(f"  {found.shadow}: {each.shadow.answer}")


def _sides(found: ShadowReport) -> tuple[tuple[str, Speed], ...]:
    return (found.original, found.original_speed), (found.shadow, found.shadow_speed)


def _speed(speed: Speed) -> tuple[str, ...]:
    return tuple("" if ms is None else format_duration(ms / 1000) for ms in speed)


def _share(part: int, whole: int) -> str:
    if not whole:
        return ""
    share = part / whole * 100
    return f"{share:.1f} % ({part} of {whole})" if part in {0, whole} or 0.1 <= share <= 99.9 else f"{part} of {whole}"


def _result(side: Side) -> str:
    """Return the result of an event in one of the two, such as `500 2s x3` after three attempts."""
    attempts = "" if side.attempts == 1 else f" x{side.attempts}"
    return f"{side.status or side.outcome} {format_duration(side.took_ms / 1000)}{attempts}"


def _differs(each: Difference) -> str:
    """Return the words for what differs; another outcome is seen by its status, if there are two."""
    return ", ".join(name for name in each.differs if name != "outcome" or "status" not in each.differs)


def _limited(shown: int, number: int) -> str:
    return "" if shown == number else f" (the newest {shown})"


async def _read(access: Access | None, name: str, since_ms: float | None, limit: int) -> ShadowReport:
    if access is not None:
        return await calls.shadow(access, name, since_ms, limit)
    async with open_context(load_settings()) as context:
        return await shadow_report.report(context, cli_principal(), name, since_ms, limit)
