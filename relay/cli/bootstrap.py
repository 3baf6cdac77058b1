"""`relay bootstrap`: the relay's webhook subscriptions at Linq."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.bootstrap.deletions import Approval
from relay.bootstrap.factory import open_accounts
from relay.bootstrap.needs import NEEDS, V2_NEEDS, needs_of
from relay.bootstrap.ownership.prune import count_left_behind
from relay.bootstrap.plan import Action, Step
from relay.bootstrap.reconciling.both import V2_ONLY, FromBoth, apply_both, plan_both, survey_both
from relay.bootstrap.reconciling.v3 import AppliedStep
from relay.bootstrap.status import KINDS, Status, differences, statuses
from relay.cli import bootstrap_migrate, bootstrap_ownership
from relay.cli.bootstrap_ownership import AccountOption, known_account
from relay.cli.bootstrap_view import (
    OldKey,
    end_on,
    print_old_key,
    print_result,
    print_status,
    reporter,
    say_notes,
    say_waiting,
    status_hints,
    step_summary,
)
from relay.cli.command import command, commands
from relay.cli.filters import checked_line
from relay.cli.operator import record
from relay.cli.output import JsonOption, View, counted, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.config.settings import Settings, environment, environment_with_secrets
from relay.core.durations import parse_duration
from relay.core.errors import ConfigError, Problem, SettingsError
from relay.parts import open_keyring, open_store
from relay.process.event_loop import run
from relay.process.telemetry.opening import error_reports
from relay.rules.cipher import cipher_of
from relay.store.keyring.last_seen import last_events
from relay.store.stored_subscriptions.hash import StoredSubscriptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from relay.bootstrap.factory import Account
    from relay.bootstrap.status import Surveyed
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

CHANGES_PENDING = 2

TakeOverOption = Annotated[
    bool,
    typer.Option("--take-over", help="Also replace subscriptions under this public URL that another relay made."),
]

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
    take_over: TakeOverOption = False,
    view: View,
) -> None:
    """Show what apply would change at Linq; change nothing."""
    planned = run(_plan(take_over=take_over))
    steps = planned.found
    pending = [step for step in steps if step.action not in {Action.KEEP, Action.HOLD}]
    held = len([step for step in steps if step.action is Action.HOLD])
    if view.json:
        print_json(
            {
                "pending": len(pending),
                "steps": [step_summary(step) for step in steps],
                "errors": planned.errors,
                "notes": planned.notes,
            }
        )
    else:
        columns = ("owner", "action", "generation", "target", "why")
        rows = [
            (step.owner, step.action.value, step.generation or None, step.target_url, step.reason) for step in steps
        ]
        print_table("Plan", columns, rows, view)
        held_back = f" {counted(held, 'step')} held back." if held else ""
        say((f"{counted(len(pending), 'change')} pending." if pending else "No changes.") + held_back)
    say_notes(planned.notes)
    end_on(planned.errors)
    if pending and detailed_exitcode:
        raise typer.Exit(CHANGES_PENDING)


@command(app, examples=("relay bootstrap apply", "relay bootstrap apply --allow-delete"))
def apply(
    *,
    allow_delete: Annotated[
        bool,
        typer.Option("--allow-delete", help="Also delete the subscriptions of lines that Linq's list lacks, at once."),
    ] = False,
    take_over: TakeOverOption = False,
    json: JsonOption = False,
) -> None:
    """Create, update and delete the relay's subscriptions at Linq; exit code 1 if a step failed.

    A line that Linq no longer lists keeps its subscription until three runs, or checks of a worker, agree. `relay
    bootstrap plan` shows what is held back. If subscriptions under this public URL may be another relay's, nothing is
    changed.
    """
    approval = Approval.DELETIONS if allow_delete else Approval.COMMAND
    report = reporter(json=json)
    with error_reports(environment_with_secrets(), "bootstrap"):
        results, old_key = run(_apply(report, approval, take_over=take_over))
    print_result(results, json=json, old_key=old_key)


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
    account: AccountOption = None,
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
    report = reporter(json=json)
    with error_reports(environment_with_secrets(), "bootstrap"):
        results = run(_rotate(line, seconds, report, account))
    print_result(results, json=json)


@command(app, examples=("relay bootstrap status", "relay bootstrap status --utc"))
def status(*, view: View) -> None:
    """Show the subscription of each line, and that of v2; exit code 1 if anything is wrong."""
    rows, found, surveys, old_key = run(_status())
    if view.json:
        shown = [{**asdict(row), "is_ok": row.is_ok} for row in rows]
        about = {"errors": surveys.errors, "notes": surveys.notes, "old_key": asdict(old_key)}
        print_json({"subscriptions": shown, "differences": found, **about})
    else:
        print_status(rows, view)
        summary = ", ".join(f"{count} {kind}" for kind, count in found.items() if count)
        hints = status_hints(has_extra=found["extra"] > 0, left=count_left_behind(surveys.found, time.time()))
        say("; ".join(filter(None, (summary, *hints))) or ("" if surveys.errors else "Everything is in order."))
        print_old_key(old_key)
    say_notes(note for note in surveys.notes if note == V2_ONLY)  # the others are rows
    end_on(surveys.errors)
    if any(count for kind, count in found.items() if kind != "foreign"):
        raise typer.Exit(1)


command(app, examples=("relay bootstrap prune", "relay bootstrap prune --yes"), view=("wide", "json"))(
    bootstrap_ownership.prune
)
command(
    app,
    examples=(
        "relay bootstrap adopt 550e8400-e29b-41d4-a716-446655440000 --secret-file linq.secret",
        "relay bootstrap adopt 550e8400-e29b-41d4-a716-446655440000 --line +16465550123 < linq.secret",
    ),
)(bootstrap_ownership.adopt)


command(
    app,
    examples=("relay bootstrap migrate --for 24h", "relay bootstrap migrate --for 24h --yes"),
    view=("wide", "json"),
)(bootstrap_migrate.migrate)


async def _plan(*, take_over: bool) -> FromBoth[Step]:
    async with opened() as (settings, redis, config):
        return await plan_both(settings, redis, config, take_over=take_over)


async def _apply(
    report: Callable[[AppliedStep], None], approval: Approval, *, take_over: bool
) -> tuple[FromBoth[AppliedStep], OldKey]:
    async with opened() as (settings, redis, config):
        await record(redis, "bootstrap apply", "Linq, taking over" if take_over else "Linq")
        keyring = open_keyring(settings, redis)
        before, stored_before = await keyring.key_use(), await _stored_of_older_keys(settings, redis)
        results = await apply_both(settings, redis, config, report, approval, say_waiting, take_over=take_over)
        after, stored_after = await keyring.key_use(), await _stored_of_older_keys(settings, redis)
        encrypted_again = len(before.older & after.current) + stored_before - stored_after
        return results, OldKey.of(settings, len(after.older) + stored_after, encrypted_again)


async def _stored_of_older_keys(settings: Settings, redis: Redis) -> int:
    """Count the subscriptions made by the API whose secrets an older key has encrypted."""
    cipher = cipher_of(settings)
    return 0 if cipher is None else await StoredSubscriptions(redis).of_older_keys(cipher)


async def _rotate(
    lines: list[str] | None, overlap: float | None, report: Callable[[AppliedStep], None], account: str | None
) -> FromBoth[AppliedStep]:
    async with opened() as (settings, redis, config):
        because = "only v3's secrets are rotated; for v2, change LINQ_V2_WEBHOOK_SECRET"
        settings.require(*needs_of(config), because=because)
        only = known_account(config, account)
        async with open_accounts(settings, redis, config, only=only) as accounts:
            overlap = config.linq.rotate_overlap if overlap is None else overlap
            asked = await _lines_by_account(accounts, lines) if lines and len(accounts) > 1 else None
            what = (", ".join(lines) if lines else "every line") + (f" of account {only}" if only else "")
            await record(redis, "bootstrap rotate", what)
            results: FromBoth[AppliedStep] = FromBoth([], [])
            for each in accounts:
                own = lines if asked is None else asked[each.name]
                if asked is None or own:
                    results.found.extend(await each.reconciler.rotate(own, overlap, report, say_waiting))
                    results.notes.extend(each.reconciler.notes)
            return results


async def _lines_by_account(accounts: Sequence[Account], lines: Sequence[str]) -> dict[str | None, list[str]]:
    """Return those of the lines that are in each account."""
    found = {each.name: [line for line in lines if line in await each.reconciler.lines()] for each in accounts}
    known = {line for own in found.values() for line in own}
    if unknown := next((line for line in lines if line not in known), None):
        raise typer.BadParameter(f"{unknown} is a line of none of the accounts", param_hint="--line")
    return found


async def _status() -> tuple[list[Status], dict[str, int], FromBoth[Surveyed], OldKey]:
    async with opened() as (settings, redis, config):
        older = len((await open_keyring(settings, redis).key_use()).older)
        old_key = OldKey.of(settings, older + await _stored_of_older_keys(settings, redis))
        surveys = await survey_both(settings, redis, config)
        last_seen, now, silent_after = await last_events(redis), time.time(), config.linq.silent_after
    rows = [row for survey in surveys.found for row in statuses(survey, last_seen, now, silent_after)]
    found = [differences(survey, last_seen, now, silent_after) for survey in surveys.found]
    return rows, {kind: sum(each[kind] for each in found) for kind in KINDS}, surveys, old_key


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Settings, Redis, RelayConfig]]:
    """Yield the settings, Redis and relay.toml."""
    settings = _load()
    config = read_config(settings.relay_config)
    async with open_store(settings) as redis:
        yield settings, redis, config


def _load() -> Settings:
    """Load the settings that the APIs in use need: v3's, unless there is only what v2 needs.

    Raises:
        SettingsError: variables are wrong or missing.
    """
    variables = environment()
    has_v2 = False
    needs: tuple[str, ...] = NEEDS
    with suppress(ConfigError):  # reported when it is read
        path = Path(variables.get("RELAY_CONFIG", Settings.model_fields["relay_config"].default))
        config = read_config(path)
        has_v2, needs = config.linq.v2 is not None, needs_of(config)
    if has_v2 and needs == NEEDS and "LINQ_API_V3_API_KEY" not in variables and "LINQ_V2_TOKEN" in variables:
        return load_settings(*V2_NEEDS)
    try:
        return load_settings(*dict.fromkeys((*needs, *(V2_NEEDS if has_v2 else ()))))
    except SettingsError as error:
        if has_v2 or "LINQ_V2_TOKEN" not in variables or "LINQ_API_V3_API_KEY" in variables:
            raise
        hint = Problem("relay.toml", "has no [linq.v2] table; add it to maintain the v2 subscription, also without v3")
        raise SettingsError(error.heading, (*error.problems, hint)) from None
