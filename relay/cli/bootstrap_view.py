"""The output of `relay bootstrap`, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from relay.bootstrap.plan import Action
from relay.cli.output import print_json, print_table, say
from relay.cli.terminal import fail
from relay.core import line_secret
from relay.process.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay.bootstrap.both_apis import FromBoth
    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconcile import AppliedStep
    from relay.bootstrap.status import Status
    from relay.cli.output import View


def print_status(rows: Iterable[Status], view: View) -> None:
    """Print the subscriptions at Linq."""
    columns = ("for", "gen", "active", "last event", "verified by", "retiring", "state", "subscription")
    cells = [
        (
            row.owner,
            row.generation or None,
            "yes" if row.is_active else "NO",
            view.time(row.last_event_ms, "never"),
            _secret_name(row.last_generation),
            row.retiring,
            row.state,
            row.subscription_id,
        )
        for row in rows
    ]
    print_table("Subscriptions at Linq", columns, cells, view)


def _secret_name(generation: int | None) -> str:
    match generation:
        case None:
            return ""
        case line_secret.V2_SECRET:
            return "its secret"
        case line_secret.V2_FORMER_SECRET:
            return "its old secret"
        case _:
            return f"gen {generation}"


def reporter(*, json: bool) -> Callable[[AppliedStep], None]:
    """Return the function that prints each step when it is done."""
    configure_logging("critical", "auto")  # each step is printed here; its log line would repeat it

    def report(applied: AppliedStep) -> None:
        step = applied.step
        result = "held back" if step.action is Action.HOLD else "done"
        result = f"failed: {applied.error}" if applied.error else result
        generation = f"gen {step.generation}" if step.generation else ""
        text = f"{step.action:<7} {step.owner:<16} {generation:<7} {step.reason}: {result}"
        say(text, fg="red" if applied.error else "yellow" if step.action is Action.HOLD else "green")

    return (lambda _: None) if json else report


def say_waiting(message: str) -> None:
    """Print on standard error that another run is waited for."""
    typer.echo(message, err=True)


def say_notes(notes: Iterable[str]) -> None:
    """Print on standard error what was left out, and what has to be corrected by hand."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def print_result(results: FromBoth[AppliedStep], *, json: bool) -> None:
    """Print the result of a command that changed something; exit with 1 if a step failed."""
    failed = [applied for applied in results.found if applied.error]
    if json:
        steps = [{**step_summary(applied.step), "error": applied.error} for applied in results.found]
        print_json({"failed": len(failed), "steps": steps, "errors": results.troubles, "notes": results.notes})
    else:
        done = Counter(applied.step.action for applied in results.found if not applied.error)
        kept, held = done.pop(Action.KEEP, 0), done.pop(Action.HOLD, 0)
        held_back = f", {held} held back" if held else ""
        say(f"{done.total()} changed, {kept} kept{held_back}, {len(failed)} failed.")
    say_notes(results.notes)
    end_on(results.troubles)
    if failed:
        raise typer.Exit(1)


def end_on(errors: list[str]) -> None:
    """Print the errors of an API that did not respond as expected, and exit with 1 if there are any."""
    for error in errors:
        fail(error)
    if errors:
        raise typer.Exit(1)


def step_summary(step: Step) -> dict[str, Any]:
    """Return a step for JSON."""
    return {
        "action": step.action,
        "owner": step.owner,
        "line": step.line,
        "generation": step.generation,
        "target_url": step.target_url,
        "subscription_id": step.subscription_id,
        "reason": step.reason,
        "retire_at": step.retire_at,
    }
