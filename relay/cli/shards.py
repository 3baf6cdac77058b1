"""`relay shards`: the number of shards, and growing to more while the relay runs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands, with_options
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, counted, print_fields, print_json, print_table, say
from relay.config.load import load_settings
from relay.parts import open_store
from relay.process.event_loop import run
from relay.process.logs import configure_logging
from relay.rules.current import Rules
from relay.services.context import Context
from relay.services.operators import growth as service
from relay.store.sharding.growth.state import Phase, read_growth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.config.settings import Settings
    from relay.services.operators.growth import Plan, State
    from relay.store.sharding.growth.state import Growth

app = commands(
    "Show the number of shards, and grow to more while the relay runs.",
    examples=("relay shards", "relay shards plan 4", "relay shards prepare 4", "relay shards apply"),
)

NumberArgument = Annotated[
    int, typer.Argument(min=2, max=64, metavar="NUMBER", help="The number of shards that it is to have.")
]

_PHASES = {
    Phase.NOTED: "prepared",
    Phase.DECIDED: "decided: the old shards are being fenced",
    Phase.ADVANCED: "events are placed on {target} shards",
    Phase.DONE: "done",
}


def shards(context: typer.Context, *, view: View) -> None:
    """Show the number of shards, and how far a change of it is."""
    if context.invoked_subcommand is not None:
        return
    state = run(_state(load_settings()))
    if view.json:
        print_json(_summary(state))
        return
    fields: dict[str, Any] = {"shards": state.shards}
    if state.growth is not None:
        growth = state.growth
        fields |= {
            "change": f"from {growth.former} to {growth.target}, {_PHASES[growth.phase].format(target=growth.target)}",
            **({"next": growth.what_is_next} if growth.what_is_next else {}),
        }
        if (until_ms := state.dedupes_until_ms) is not None:
            fields["repeats"] = f"also looked up on former shards until {view.time(until_ms)}"
            fields |= {"window": state.dedupe_note} if state.dedupe_note else {}
        if growth.is_decided and state.closed:
            fields["closed"] = f"on the new shards, until they are done on the old ones: {', '.join(state.closed)}"
    if state.others:
        fields["to restart"] = ", ".join(state.others)
    print_fields("Shards", fields, view)


app.callback(invoke_without_command=True, no_args_is_help=False)(with_options(shards))


@command(app, examples=("relay shards plan 4", "relay shards plan 4 --json"))
def plan(number: NumberArgument, *, view: View) -> None:
    """Show what growing to a number of shards would move; changes nothing."""
    found = run(_plan(load_settings(), number))
    if view.json:
        print_json(asdict(found))
        return
    moving = round(found.chats * found.share)
    say(f"From {found.shards} to {found.target} shards: {found.share:.0%} of all chats move to a new one.")
    say(f"  copied: the lines of about {counted(moving, 'chat')}, {counted(found.backfilled, 'backfilled message')}")
    say("  stays where it is: what was accepted before, its deliveries, its history")
    rows = [(each.subscription, each.deliveries) for each in found.backlogs]
    print_table('Subscriptions with ordered = "chat"', ("subscription", "unsettled"), rows, view)
    if found.growth is not None:
        is_ = "It grows" if found.growth.is_decided else "A change is prepared"
        say(f"{is_} from {found.growth.former} to {found.growth.target} already: {found.growth.what_is_next}.")
    say(f"With more than {service.LONG_BACKLOG} unsettled deliveries of one of them, relay shards apply waits.")


@command(app, examples=("relay shards prepare 4", "relay shards prepare 4 --why 'one primary is full'"), view=("json",))
def prepare(number: NumberArgument, *, why: WhyOption = "", view: View) -> None:
    """Note the number of shards that the relay is to have, so that processes with it may start.

    Then restart every process with RELAY_SHARDS set to it, one by one: ingresses, workers, admin. They work as before
    until relay shards apply. More shards only: fewer would have to move events that are stored.
    """
    noted, note = run(_prepare(load_settings(), number, why))
    if view.json:
        print_json(_growth(noted))
    else:
        if note:
            say(f"Note: {note}.")
        say(f"Prepared. Restart every process with RELAY_SHARDS={noted.target}; then: relay shards apply")


@command(
    app, examples=("relay shards apply", "relay shards apply --anyway --why 'one primary is full'"), view=("json",)
)
def apply(
    *,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Do not wait for ordered subscriptions with a long backlog.")
    ] = False,
    why: WhyOption = "",
    view: View,
) -> None:
    """Grow to the prepared number of shards, and wait until that is done.

    It can be stopped at any moment, and loses nothing. If it is stopped before the switch, the relay works as before
    until it is run again; after the switch, workers do the rest.
    """
    configure_logging("critical", "auto")  # each step is printed here; its log line would repeat it
    done = run(_apply(load_settings(), why, anyway=anyway, is_quiet=view.json))
    if view.json:
        print_json(_growth(done))
        return
    say(f"Done: the relay has {done.target} shards.", fg="green")


@command(app, examples=("relay shards cancel", "relay shards cancel --why 'not now'"), view=("json",))
def cancel(*, why: WhyOption = "", view: View) -> None:
    """Forget the number that was prepared, unless it is in use already; exit code 1 if there is nothing to forget.

    Processes that were restarted with it keep running, but cannot be started again.
    """
    is_cancelled = run(_cancel(load_settings(), why))
    if view.json:
        print_json({"cancelled": is_cancelled})
    else:
        say("Cancelled." if is_cancelled else "There is nothing to cancel.")
    if not is_cancelled:
        raise typer.Exit(1)


@asynccontextmanager
async def _context(settings: Settings, number: int | None = None) -> AsyncIterator[Context]:
    """Open a context with `number` shards; by default the number that a growth under way aims at."""
    if number is None:
        async with open_store(settings) as redis:
            growth = await read_growth(redis)
        number = settings.relay_shards if growth is None else growth.target
    settings = settings.model_copy(update={"relay_shards": number})
    async with open_store(settings) as redis:
        yield Context(settings, redis, Rules(settings, redis))


async def _state(settings: Settings) -> State:
    async with _context(settings) as context:
        return await service.state(context, cli_principal())


async def _plan(settings: Settings, number: int) -> Plan:
    async with _context(settings, number) as context:
        return await service.plan(context, cli_principal(), number)


async def _prepare(settings: Settings, number: int, why: str) -> tuple[Growth, str]:
    """Prepare it; also return the processes whose dedupe windows differ, in words, where that mattered."""
    async with _context(settings, number) as context:
        before = await service.state(context, cli_principal())
        return await service.prepare(context, cli_principal(), number, why), before.dedupe_note


async def _apply(settings: Settings, why: str, *, anyway: bool, is_quiet: bool) -> Growth:
    def tell(text: str) -> None:
        if not is_quiet:
            say(f"  {text}", dim=True)

    async with _context(settings) as context:
        return await service.apply(context, cli_principal(), tell, why, anyway=anyway)


async def _cancel(settings: Settings, why: str) -> bool:
    async with _context(settings) as context:
        return await service.give_up(context, cli_principal(), why)


def _growth(growth: Growth) -> dict[str, Any]:
    return {**growth._asdict(), "phase": growth.phase.value}


def _summary(state: State) -> dict[str, Any]:
    growth = None if state.growth is None else _growth(state.growth)
    return {**asdict(state), "growth": growth}
