"""`relay bootstrap`: our webhook subscriptions at Linq."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from relay.cli.output import JsonOption, console, counted, local_time, print_json, print_table
from relay.core import line_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from relay.bootstrap.both_apis import FromBoth
    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconcile import AppliedStep
    from relay.bootstrap.status import Status
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig

PENDING = 2

bootstrap = typer.Typer(name="bootstrap", help="Register every line at Linq, and keep it so.", no_args_is_help=True)


@bootstrap.command()
def plan(*, json: JsonOption = False) -> None:
    """Show what apply would do; exit code 2 if that is anything. Changes nothing."""
    from relay.bootstrap.plan import Action
    from relay.process.event_loop import run

    planned = run(_plan())
    steps = planned.found
    pending = [step for step in steps if step.action is not Action.KEEP]
    if json:
        print_json({"pending": len(pending), "steps": [_shown(step) for step in steps], "errors": planned.troubles})
    else:
        columns = ("for", "action", "gen", "target", "why")
        print_table("Plan", columns, [(*_row(step), step.reason) for step in steps])
        console.print(f"{counted(len(pending), 'change')} pending." if pending else "Nothing to do.")
    _end_on(planned.troubles)
    if pending:
        raise typer.Exit(PENDING)


@bootstrap.command()
def apply(*, json: JsonOption = False) -> None:
    """Make Linq's subscriptions as they should be; exit code 1 if any step failed."""
    from relay.process.event_loop import run

    _tell(run(_apply(_teller(json=json))), json=json)


@bootstrap.command()
def rotate(
    *,
    line: Annotated[list[str] | None, typer.Option("--line", help="Only this line, E.164; repeat it for more.")] = None,
    overlap: Annotated[
        str | None, typer.Option(help="How long the old secrets live on, such as 1h; else as relay.toml says.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Give every line a new signing secret; the old ones live on for a while, so no event is refused.

    When their time is over, a worker that has the Linq key deletes them, or the next apply does.
    """
    from relay.core.durations import parse_duration
    from relay.core.lines import is_line
    from relay.process.event_loop import run

    for one in line or ():
        if not is_line(one):
            raise typer.BadParameter(f'"{one}" is not a line in E.164, such as +16465550123', param_hint="--line")
    try:
        seconds = parse_duration(overlap) if overlap else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from None
    _tell(run(_rotate(line, seconds, _teller(json=json))), json=json)


@bootstrap.command()
def status(*, json: JsonOption = False) -> None:
    """Show how each line's subscription stands, and v2's; exit code 1 if anything is wrong."""
    from relay.process.event_loop import run

    rows, differences, troubles = run(_status())
    if json:
        shown = [{**asdict(row), "is_ok": row.is_ok} for row in rows]
        print_json({"subscriptions": shown, "differences": differences, "errors": troubles})
    else:
        columns = ("for", "gen", "active", "last event", "verified by", "retiring", "state", "subscription")
        print_table("Subscriptions at Linq", columns, map(_status_row, rows))
        found = ", ".join(f"{count} {kind}" for kind, count in differences.items() if count)
        console.print(found or ("" if troubles else "Everything is as it should be."))
    _end_on(troubles)
    if any(count for kind, count in differences.items() if kind != "foreign"):
        raise typer.Exit(1)


def _status_row(row: Status) -> tuple[object, ...]:
    return (
        row.owner,
        row.generation or None,
        "yes" if row.is_active else "NO",
        local_time(row.last_event_ms) if row.last_event_ms else "never",
        _secret_name(row.last_generation),
        row.retiring,
        row.state,
        row.subscription_id,
    )


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


def _teller(*, json: bool) -> Callable[[AppliedStep], None]:
    """What says each step as it is done."""
    from relay.process.logs import configure_logging

    configure_logging("critical", "auto")  # each step is said here; what its log says is the same

    def tell(done: AppliedStep) -> None:
        step = done.step
        result = f"failed: {done.error}" if done.error else "done"
        said = f"{step.action:<7} {step.owner:<16} {_generation(step):<7} {step.reason}: {result}"
        console.print(Text(said, style="red" if done.error else "green"), soft_wrap=True)

    return (lambda _: None) if json else tell


def _end_on(troubles: list[str]) -> None:
    """Ends with exit code 1 if an API could not be asked."""
    for trouble in troubles:
        typer.secho(trouble, err=True, fg=typer.colors.RED)
    if troubles:
        raise typer.Exit(1)


def _tell(done_at_both: FromBoth[AppliedStep], *, json: bool) -> None:
    """The end of a command that changed something; exit code 1 if a step failed."""
    results, troubles = done_at_both.found, done_at_both.troubles
    failed = [done for done in results if done.error]
    if json:
        steps = [{**_shown(done.step), "error": done.error} for done in results]
        print_json({"failed": len(failed), "steps": steps, "errors": troubles})
    else:
        changed = sum(done.step.action != "keep" and not done.error for done in results)
        kept = sum(done.step.action == "keep" for done in results)
        console.print(f"{changed} changed, {kept} kept, {len(failed)} failed.")
    _end_on(troubles)
    if failed:
        raise typer.Exit(1)


async def _plan() -> FromBoth[Step]:
    from relay.bootstrap.both_apis import plan_both

    async with _account() as (settings, redis, config):
        return await plan_both(settings, redis, config)


async def _apply(tell: Callable[[AppliedStep], None]) -> FromBoth[AppliedStep]:
    from relay.bootstrap.both_apis import apply_both

    async with _account() as (settings, redis, config):
        return await apply_both(settings, redis, config, tell)


async def _rotate(
    lines: list[str] | None, overlap: float | None, tell: Callable[[AppliedStep], None]
) -> FromBoth[AppliedStep]:
    from relay.bootstrap.both_apis import FromBoth
    from relay.bootstrap.factory import open_reconciler

    async with (
        _account() as (settings, redis, config),
        open_reconciler(settings, redis, config) as reconciler,
    ):
        overlap = config.linq.rotate_overlap if overlap is None else overlap
        return FromBoth(await reconciler.rotate(lines, overlap, tell), [])


async def _status() -> tuple[list[Status], dict[str, int], list[str]]:
    from relay.bootstrap.both_apis import survey_both
    from relay.bootstrap.status import KINDS, differences, statuses
    from relay.store.keyring.last_seen import last_events

    async with _account() as (settings, redis, config):
        looked = await survey_both(settings, redis, config)
        heard, now, silent_after = await last_events(redis), time.time(), config.linq.silent_after
    rows = [row for survey in looked.found for row in statuses(survey, heard, now, silent_after)]
    found = [differences(survey, heard, now, silent_after) for survey in looked.found]
    return rows, {kind: sum(each[kind] for each in found) for kind in KINDS}, looked.troubles


@asynccontextmanager
async def _account() -> AsyncIterator[tuple[Settings, Redis, RelayConfig]]:
    """What there is to work with."""
    from relay.bootstrap.factory import NEEDS
    from relay.config.file import read_config
    from relay.parts import load_settings, open_store

    settings = load_settings(*NEEDS)
    config = read_config(settings.relay_config)
    async with open_store(settings) as redis:
        yield settings, redis, config


def _row(step: Step) -> tuple[object, ...]:
    return step.owner, step.action.value, step.generation or None, step.target_url


def _generation(step: Step) -> str:
    return f"gen {step.generation}" if step.generation else ""


def _shown(step: Step) -> dict[str, Any]:
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
