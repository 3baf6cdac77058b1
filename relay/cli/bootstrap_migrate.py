"""`relay bootstrap migrate`: the guided move from Linq's v2 API to v3."""

from __future__ import annotations

import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from relay.bootstrap.migration.moving import MOVE_NEEDS, Move, State, plan_move, register, switch_off
from relay.cli.bootstrap_view import reporter
from relay.cli.operator import WhyOption, record
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.core.durations import parse_duration
from relay.core.errors import RelayError
from relay.core.timestamps import utc_text
from relay.parts import open_store
from relay.process.event_loop import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

_SHOWN = 20  # messages that came over one API alone

_NOTHING_TO_MOVE = (
    "nothing to move: relay.toml has no [linq.v2] table, so v3 alone is used; if a subscription of the relay is left "
    "at v2, set LINQ_V2_TOKEN, and this command deletes it"
)

PENDING = 2
"""Exit code while a step is left."""


def migrate(
    *,
    period: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long messages over both are compared, such as 24h.")
    ] = "24h",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    why: WhyOption = "",
    view: View,
) -> None:
    """Move from Linq's v2 API to v3: both on, compare what arrives over each, v2 off; run it again after each step.

    It shows the steps first and asks before it changes anything at Linq; it deletes nothing but the relay's own v2
    subscription. Exit code 2 while a step is left.
    """
    try:
        seconds = parse_duration(period)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
    if view.json and yes:
        raise typer.BadParameter(
            "--json only shows the steps; to carry out the next one, leave it out", param_hint="--yes"
        )
    move = run(_plan(seconds))
    _show(move, view)
    if not view.json and (move.to_register or move.to_delete):
        _change(move, yes=yes, why=why)
        if move.to_delete:
            move = run(_plan(seconds))
    if not move.is_done:
        raise typer.Exit(PENDING)


def _change(move: Move, *, yes: bool, why: str) -> None:
    """Carry out the step that is next, if the operator agrees."""
    if move.to_register:
        question = f"Create or correct {counted(len(move.to_register), 'subscription')} at v3?"
    else:
        question = f"Delete {counted(len(move.to_delete), 'subscription')} at v2?"
    if not yes:
        if not sys.stdin.isatty():
            say("Run it with --yes to carry out the next step.")
            return
        typer.confirm(question, abort=True)
    if move.to_register:
        failed = run(_register(why))
        say("Both are on." if not failed else f"{counted(failed, 'step')} failed; run it again.")
    else:
        deleted = run(_switch_off({each.id for each in move.to_delete}, why))
        say(f"Deleted at v2: {', '.join(map(str, deleted)) or 'nothing was left'}.", fg="green")
        say("Now remove LINQ_V2_TOKEN and LINQ_V2_WEBHOOK_SECRET, and api of the topics, and restart the ingress.")


def _show(move: Move, view: View) -> None:
    found = move.comparison
    single = [("v2", copy) for copy in found.only_v2] + [("v3", copy) for copy in found.only_v3] if found else []
    rows = [(api, each.type, each.line, utc_text(each.sent), each.message, each.event) for api, each in single]
    columns = ("only over", "type", "line", "sent", "message", "event")
    if view.json:
        print_json(
            {
                "done": move.is_done,
                "steps": [{"step": step.name, "state": step.state, "what": step.what} for step in move.steps],
                "single": [dict(zip(columns, row, strict=True)) for row in rows],
            }
        )
        return
    steps = [(number, step.name, step.state.value, step.what) for number, step in enumerate(move.steps, 1)]
    print_table("Move from v2 to v3", ("step", "name", "state", "what"), steps, view)
    if rows:
        print_table("Messages that came over one API alone", columns, rows[:_SHOWN], view)
        if len(rows) > _SHOWN:
            say(f"... and {len(rows) - _SHOWN} more; all of them with --json")
    after = next((step for step in move.steps if step.state is State.NEXT), None)
    say("Everything is done." if after is None else f"Next: {after.name}: {after.what}")


async def _plan(period: float) -> Move:
    async with _opened() as (settings, redis, config):
        return await plan_move(settings, redis, config, period, time.time())


async def _register(why: str) -> int:
    async with _opened() as (settings, redis, config):
        await record(redis, "bootstrap migrate", "v3 on", why=why)
        results = await register(settings, redis, config, reporter(json=False))
        return sum(done.error is not None for done in results)


async def _switch_off(ids: set[int], why: str) -> list[int]:
    async with _opened() as (settings, redis, config):
        if config.linq.v2 is not None:
            return []
        await record(redis, "bootstrap migrate", "v2 off", len(ids), why)
        return await switch_off(settings, ids)


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[Settings, Redis, RelayConfig]]:
    """Yield the settings, Redis and relay.toml.

    Raises:
        RelayError: v2 is not used, as far as the relay can tell.
    """
    settings = load_settings()
    config = read_config(settings.relay_config)
    if settings.linq_v2_token is None and config.linq.v2 is None:
        raise RelayError(_NOTHING_TO_MOVE)
    settings.require(*MOVE_NEEDS, because="the move from v2 to v3 needs both APIs")
    async with open_store(settings) as redis:
        yield settings, redis, config
