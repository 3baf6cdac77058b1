"""`relay bootstrap`: the relay's webhook subscriptions at Linq."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from relay.bootstrap.both_apis import FromBoth, apply_both, plan_both, survey_both
from relay.bootstrap.factory import NEEDS, open_reconciler
from relay.bootstrap.plan import Action, Step
from relay.bootstrap.reconcile import AppliedStep
from relay.bootstrap.status import KINDS, Status, differences, statuses
from relay.cli.bootstrap_view import end_on, print_result, print_status, reporter, step_summary
from relay.cli.command import command, commands
from relay.cli.filters import checked_line
from relay.cli.operator import record
from relay.cli.output import JsonOption, View, counted, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.core.durations import parse_duration
from relay.parts import open_store
from relay.process.event_loop import run
from relay.store.keyring.last_seen import last_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig

CHANGES_PENDING = 2

app = commands(
    "Plan, apply, rotate and check the webhook subscriptions at Linq.",
    examples=("relay bootstrap plan", "relay bootstrap apply"),
)


@command(
    app, examples=("relay bootstrap plan", "relay bootstrap plan --detailed-exitcode --json"), view=("wide", "json")
)
def plan(
    *,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 if changes are pending.")
    ] = False,
    view: View,
) -> None:
    """Show what apply would change at Linq; change nothing."""
    planned = run(_plan())
    steps = planned.found
    pending = [step for step in steps if step.action is not Action.KEEP]
    if view.json:
        print_json(
            {"pending": len(pending), "steps": [step_summary(step) for step in steps], "errors": planned.troubles}
        )
    else:
        columns = ("owner", "action", "generation", "target", "why")
        rows = [
            (step.owner, step.action.value, step.generation or None, step.target_url, step.reason) for step in steps
        ]
        print_table("Plan", columns, rows, view)
        say(f"{counted(len(pending), 'change')} pending." if pending else "No changes.")
    end_on(planned.troubles)
    if pending and detailed_exitcode:
        raise typer.Exit(CHANGES_PENDING)


@command(app, examples=("relay bootstrap apply", "relay bootstrap apply --json"))
def apply(*, json: JsonOption = False) -> None:
    """Create, update and delete the relay's subscriptions at Linq; exit code 1 if a step failed."""
    print_result(run(_apply(reporter(json=json))), json=json)


@command(app, examples=("relay bootstrap rotate --overlap 1h", "relay bootstrap rotate --line +16465550123"))
def rotate(
    *,
    line: Annotated[
        list[str] | None, typer.Option("--line", metavar="NUMBER", help="Only this line; repeatable.")
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long old secrets stay valid, such as 1h or 1d.  [default: rotate_overlap in relay.toml]",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Give every line a new signing secret; the old ones stay valid for a while, so no event is lost.

    After that time a worker with LINQ_API_V3_API_KEY deletes them, or the next apply does.
    """
    for number in line or ():
        checked_line(number)
    try:
        seconds = parse_duration(overlap) if overlap else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from None
    print_result(run(_rotate(line, seconds, reporter(json=json))), json=json)


@command(app, examples=("relay bootstrap status", "relay bootstrap status --utc"))
def status(*, view: View) -> None:
    """Show the subscription of each line, and that of v2; exit code 1 if anything is wrong."""
    rows, found, errors = run(_status())
    if view.json:
        shown = [{**asdict(row), "is_ok": row.is_ok} for row in rows]
        print_json({"subscriptions": shown, "differences": found, "errors": errors})
    else:
        print_status(rows, view)
        summary = ", ".join(f"{count} {kind}" for kind, count in found.items() if count)
        say(summary or ("" if errors else "Everything is in order."))
    end_on(errors)
    if any(count for kind, count in found.items() if kind != "foreign"):
        raise typer.Exit(1)


async def _plan() -> FromBoth[Step]:
    async with _account() as (settings, redis, config):
        return await plan_both(settings, redis, config)


async def _apply(report: Callable[[AppliedStep], None]) -> FromBoth[AppliedStep]:
    async with _account() as (settings, redis, config):
        await record(redis, "bootstrap apply", "Linq")
        return await apply_both(settings, redis, config, report)


async def _rotate(
    lines: list[str] | None, overlap: float | None, report: Callable[[AppliedStep], None]
) -> FromBoth[AppliedStep]:
    async with (
        _account() as (settings, redis, config),
        open_reconciler(settings, redis, config) as reconciler,
    ):
        overlap = config.linq.rotate_overlap if overlap is None else overlap
        await record(redis, "bootstrap rotate", ", ".join(lines) if lines else "every line")
        return FromBoth(await reconciler.rotate(lines, overlap, report), [])


async def _status() -> tuple[list[Status], dict[str, int], list[str]]:
    async with _account() as (settings, redis, config):
        surveys = await survey_both(settings, redis, config)
        last_seen, now, silent_after = await last_events(redis), time.time(), config.linq.silent_after
    rows = [row for survey in surveys.found for row in statuses(survey, last_seen, now, silent_after)]
    found = [differences(survey, last_seen, now, silent_after) for survey in surveys.found]
    return rows, {kind: sum(each[kind] for each in found) for kind in KINDS}, surveys.troubles


@asynccontextmanager
async def _account() -> AsyncIterator[tuple[Settings, Redis, RelayConfig]]:
    """Yield the settings, Redis and relay.toml."""
    settings = load_settings(*NEEDS)
    config = read_config(settings.relay_config)
    async with open_store(settings) as redis:
        yield settings, redis, config
