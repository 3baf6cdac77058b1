"""`relay subscriptions`: the push subscriptions, whether they deliver, and pausing, resuming and dropping them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, counted, print_json, print_table, say
from relay.cli.remote import calls
from relay.cli.remote.access import Via
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries import subscriptions
from relay.services.deliveries.subscriptions import Resumed, State, SubscriptionState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.cli.remote.access import Access
    from relay.config.settings import Settings

app = commands(
    "List, pause, create, change and drop push subscriptions.",
    examples=("relay subscriptions list", "relay subscriptions pause bot --why 'database migration'"),
)

_NEXT = {
    State.BLOCKED: "relay dead list --subscription {name} shows them",
    State.FAILING: "relay attempts --subscription {name} shows them",
    State.REMOVED: "relay subscriptions drop {name} deletes its state",
}
"""The command that helps in a state."""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The subscription's name.")]


@command(app, "list", examples=("relay subscriptions list", "relay subscriptions list --json"))
def list_(*, via: Via, view: View) -> None:
    """Show whether each subscription delivers, and why not; exit code 1 if one does not, unless it is a shadow."""
    rows = run(_rows(via.remote()))
    if view.json:
        print_json([_summary(row) for row in rows])
    else:
        counts = ["waiting", "retrying", "dead", *(["discarded"] if any(row.discarded for row in rows) else [])]
        columns = ("subscription", "state", *counts, "last success", "since", "next probe", "why")
        print_table("Push subscriptions", columns, [_cells(row, counts, view) for row in rows], view)
    if any(row.needs_operator for row in rows):
        raise typer.Exit(1)


@command(app, examples=("relay subscriptions pause bot", "relay subscriptions pause bot --why 'database migration'"))
def pause(
    name: NameArgument,
    *,
    why: Annotated[
        str,
        typer.Option("--why", metavar="TEXT", help="The reason, for relay subscriptions list and relay audit."),
    ] = "",
) -> None:
    """Stop delivering to a subscription; its events wait in its topic."""
    is_new = run(_pause(load_settings(), name, why))
    say(f"{name} is paused." if is_new else f"{name} was already paused.")


@command(app, examples=("relay subscriptions resume bot", "relay subscriptions resume crm"))
def resume(name: NameArgument, *, why: WhyOption = "") -> None:
    """Deliver again to a subscription that was paused by an operator, or by its own response 410."""
    done = run(_resume(load_settings(), name, why))
    say(f"{name} is resumed." if done.was_paused else f"{name} was not paused.")
    if (breaker := done.breaker) is not None:
        cause = breaker.reason.rstrip(": ")
        say(f"Its circuit breaker is open ({cause}): its events wait until a probe succeeds.")
        say(f"It tries next at {View().time(breaker.probe_ms)}; what it gets now:")
        say(f"  relay attempts --subscription {name} --limit 5")


@command(app, examples=("relay subscriptions drop former-bot", "relay subscriptions drop former-bot --yes"))
def drop(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Also delete waiting events and dead letters.")] = False,
    why: WhyOption = "",
) -> None:
    """Delete the state of a subscription that no longer exists."""
    lost = run(_drop(load_settings(), name, why, even_with_events=yes))
    say(f"{name} is dropped, with {counted(lost, 'event')}.")


def _cells(row: SubscriptionState, counts: Sequence[str], view: View) -> tuple[object, ...]:
    times = map(view.time, (row.last_success_ms, row.since_ms, row.next_probe_ms))
    shadows = f"shadow of {row.shadow_of}" if row.shadow_of else ""
    why = "; ".join(filter(None, (shadows, row.why, _NEXT.get(row.state, "").format(name=row.name))))
    return row.name, row.state, *(getattr(row, count) for count in counts), *times, why


def _summary(row: SubscriptionState) -> dict[str, Any]:
    return {
        "subscription": row.name,
        "state": row.state,
        "waiting": row.waiting,
        "retrying": row.retrying,
        "dead": row.dead,
        "discarded": row.discarded,
        "last_success_ms": row.last_success_ms,
        "since_ms": row.since_ms,
        "next_probe_ms": row.next_probe_ms,
        "why": row.why,
        "shadow_of": row.shadow_of,
    }


async def _rows(access: Access | None) -> list[SubscriptionState]:
    if access is not None:
        states = await calls.subscription_states(access)
    else:
        async with open_context(load_settings()) as context:
            states = await subscriptions.list_states(context, cli_principal(), is_exact=True)
    return [state for state in states if state.state is not State.NOT_STARTED]


async def _pause(settings: Settings, name: str, why: str) -> bool:
    async with open_context(settings) as context:
        return await subscriptions.pause(context, cli_principal(), name, why)


async def _resume(settings: Settings, name: str, why: str) -> Resumed:
    async with open_context(settings) as context:
        return await subscriptions.resume(context, cli_principal(), name, why)


async def _drop(settings: Settings, name: str, why: str, *, even_with_events: bool) -> int:
    async with open_context(settings) as context:
        return await subscriptions.drop(context, cli_principal(), name, why, even_with_events=even_with_events)
