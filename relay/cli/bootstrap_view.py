"""The output of `relay bootstrap`, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import typer

from relay.bootstrap.plan import Action
from relay.cli.output import counted, print_json, print_table, say
from relay.cli.terminal import fail
from relay.core import line_secret
from relay.process.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconciling.both import FromBoth
    from relay.bootstrap.reconciling.v3 import AppliedStep
    from relay.bootstrap.status import Status
    from relay.cli.output import View
    from relay.config.settings import Settings


@dataclass(frozen=True, slots=True)
class OldKey:
    """Need for RELAY_SECRET_KEY_OLD."""

    is_set: bool
    needed_by: int
    """The number of stored secrets that are encrypted with an older key."""
    encrypted_again: int = 0
    """The number of secrets that this run has encrypted with RELAY_SECRET_KEY."""

    @classmethod
    def of(cls, settings: Settings, needed_by: int, encrypted_again: int = 0) -> Self:
        """Return the need for the old key of `settings`."""
        return cls(settings.relay_secret_key_old is not None, needed_by, encrypted_again)


def print_old_key(old_key: OldKey) -> None:
    """Print how many secrets were encrypted again, and whether the old key can be removed."""
    if old_key.encrypted_again:
        say(f"{counted(old_key.encrypted_again, 'secret')} encrypted with the new RELAY_SECRET_KEY.")
    if old_key.needed_by:
        needed_by = counted(old_key.needed_by, "secret")
        say(f"RELAY_SECRET_KEY_OLD is still needed by {needed_by}; run: relay bootstrap apply", fg="yellow")
    elif old_key.is_set:
        say("RELAY_SECRET_KEY_OLD can be removed: no stored secret needs it.")


def print_status(rows: Iterable[Status], view: View) -> None:
    """Print the subscriptions at Linq."""
    columns = ("owner", "generation", "active", "last event", "verified by", "retiring", "state", "subscription")
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
            return f"generation {generation}"


def reporter(*, json: bool) -> Callable[[AppliedStep], None]:
    """Return the function that prints each step when it is done."""
    configure_logging("critical", "auto")  # each step is printed here; its log line would repeat it

    def report(applied: AppliedStep) -> None:
        step = applied.step
        result = "held back" if step.action is Action.HOLD else "done"
        result = f"failed: {applied.error}" if applied.error else result
        generation = f"generation {step.generation}" if step.generation else ""
        text = f"{step.action:<7} {step.owner:<16} {generation:<13} {step.reason}: {result}"
        say(text, fg="red" if applied.error else "yellow" if step.action is Action.HOLD else "green")

    return (lambda _: None) if json else report


def say_waiting(message: str) -> None:
    """Print on standard error that another run is waited for."""
    typer.echo(message, err=True)


def say_notes(notes: Iterable[str]) -> None:
    """Print on standard error what was left out, and what has to be corrected by hand."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def print_result(results: FromBoth[AppliedStep], *, json: bool, old_key: OldKey | None = None) -> None:
    """Print the result of a command that changed something; exit with 1 if a step failed."""
    failed = [applied for applied in results.found if applied.error]
    if json:
        steps = [{**step_summary(applied.step), "error": applied.error} for applied in results.found]
        about_key = {"old_key": asdict(old_key)} if old_key else {}
        found = {"failed": len(failed), "steps": steps, "errors": results.errors, "notes": results.notes}
        print_json({**found, **about_key})
    else:
        done = Counter(applied.step.action for applied in results.found if not applied.error)
        kept, held = done.pop(Action.KEEP, 0), done.pop(Action.HOLD, 0)
        held_back = f", {held} held back" if held else ""
        say(f"{done.total()} changed, {kept} kept{held_back}, {len(failed)} failed.")
        if old_key:
            print_old_key(old_key)
    say_notes(results.notes)
    end_on(results.errors)
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
        **({} if step.account is None else {"account": step.account}),
        "line": step.line,
        "generation": step.generation,
        "target_url": step.target_url,
        "subscription_id": step.subscription_id,
        "reason": step.reason,
        "retire_at": step.retire_at,
    }


def status_hints(*, has_extra: bool, left: int) -> list[str]:
    """Return the commands that show more; `left` is the number of subscriptions that are left behind."""
    extra = ["relay bootstrap plan shows what is extra"] if has_extra else []
    return [*extra, "relay bootstrap prune shows what a former RELAY_PUBLIC_URL left"] if left else extra
