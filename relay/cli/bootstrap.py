"""`relay bootstrap`: our webhook subscriptions at Linq."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from relay.cli.output import JsonOption, console, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconcile import Done, Reconciler

PENDING = 2

bootstrap = typer.Typer(name="bootstrap", help="Register every line at Linq, and keep it so.", no_args_is_help=True)


@bootstrap.command()
def plan(*, json: JsonOption = False) -> None:
    """Show what apply would do; exit code 2 if that is anything. Changes nothing."""
    from relay.bootstrap.plan import Action
    from relay.event_loop import run

    steps = run(_plan())
    pending = [step for step in steps if step.action is not Action.KEEP]
    if json:
        print_json({"pending": len(pending), "steps": [_shown(step) for step in steps]})
    else:
        _print_steps("Plan", [(*_row(step), step.reason) for step in steps])
        console.print(f"{len(pending)} changes pending." if pending else "Nothing to do.")
    if pending:
        raise typer.Exit(PENDING)


@bootstrap.command()
def apply(*, json: JsonOption = False) -> None:
    """Make Linq's subscriptions as they should be; exit code 1 if any step failed."""
    from relay.event_loop import run
    from relay.telemetry import configure_logging

    configure_logging("error", "auto")
    results = run(_apply(show=not json))
    failed = [done for done in results if done.error]
    if json:
        print_json({"failed": len(failed), "steps": [{**_shown(done.step), "error": done.error} for done in results]})
    else:
        changed = sum(done.step.action != "keep" and not done.error for done in results)
        kept = sum(done.step.action == "keep" for done in results)
        console.print(f"{changed} changed, {kept} kept, {len(failed)} failed.")
    if failed:
        raise typer.Exit(1)


async def _plan() -> list[Step]:
    async with _reconciler() as reconciler:
        _, steps = await reconciler.plan()
        return steps


async def _apply(*, show: bool) -> list[Done]:
    def on_done(done: Done) -> None:
        if show:
            step = done.step
            result = f"failed: {done.error}" if done.error else "done"
            said = f"{step.action:<7} {step.line or 'account':<16} gen {step.generation:<3} {step.reason}: {result}"
            console.print(Text(said, style="red" if done.error else "green"), soft_wrap=True)

    async with _reconciler() as reconciler:
        return await reconciler.apply(*await reconciler.plan(), on_done)


@asynccontextmanager
async def _reconciler() -> AsyncIterator[Reconciler]:
    from relay.bootstrap.reconcile import Reconciler, public_url_of
    from relay.config_file import read_config
    from relay.linq.api import open_linq
    from relay.parts import load_settings, open_keyring, open_store

    settings = load_settings("relay_public_url", "relay_secret_key", "linq_api_v3_api_key")
    config, public_url = read_config(settings.relay_config), public_url_of(settings)
    assert settings.linq_api_v3_api_key is not None  # noqa: S101  it was asked for
    key = settings.linq_api_v3_api_key.get_secret_value()
    async with open_linq(key, settings.linq_api_v3_base_url) as api, open_store(settings) as redis:
        yield Reconciler(api, open_keyring(settings, redis), config, public_url, time.time)


def _row(step: Step) -> tuple[object, ...]:
    return step.action.value, step.line or "account", step.generation, step.target_url


def _print_steps(title: str, rows: Sequence[Sequence[object]]) -> None:
    print_table(title, ("action", "line", "gen", "target", "why"), rows)


def _shown(step: Step) -> dict[str, Any]:
    return {
        "action": step.action,
        "line": step.line,
        "generation": step.generation,
        "target_url": step.target_url,
        "subscription_id": step.subscription_id,
        "reason": step.reason,
    }
