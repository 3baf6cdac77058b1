"""`relay contracts`: what the relay can read from each event type and payload version, and what changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, counted, print_fields, print_json, print_table, say
from relay.config.load import load_settings
from relay.contracts.facts import FACTS
from relay.core.event import Dialect
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.operators import contracts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config.settings import Settings
    from relay.services.operators.contracts import ContractDetails, ContractState
    from relay.store.contracts.contracts import Change
    from relay.store.contracts.record import Sample

ApiOption = Annotated[
    Dialect | None,
    typer.Option("--api", metavar="v3|v2", help="Only payloads of this webhook API of Linq.", show_choices=True),
]
TypeArgument = Annotated[str, typer.Argument(metavar="TYPE", help="The event type, such as message.received.")]

app = commands(
    "Show what the relay can read from each event type and payload version, and what changed.",
    examples=("relay contracts list", "relay contracts show message.received"),
)


@command(
    app, "list", examples=("relay contracts list --api v3", "relay contracts list --json | jq '.[] | select(.changes)'")
)
def list_(*, api: ApiOption = None, view: View) -> None:
    """List event types and payload versions with the share of events that have each fact.

    Exit code 1 if there is a change that no operator has accepted.
    """
    found = run(_list(load_settings(), api))
    if view.json:
        print_json([_summary(state) for state in found])
    else:
        columns = ("type", "version", "events", "last", *FACTS, "changes")
        rows = [
            (
                *(state.type, state.version, state.events, view.time(state.last_ms)),
                *(f"{state.facts[fact]:.0%}" for fact in FACTS),
                " ".join(change.what for change in state.changes),
            )
            for state in found
        ]
        print_table(f"Event types and versions: {len(rows)}", columns, rows, view)
    if any(state.changes for state in found):
        raise typer.Exit(1)


@command(app, examples=("relay contracts show message.received", "relay contracts show message.received --json"))
def show(event_type: TypeArgument, *, api: ApiOption = None, view: View) -> None:
    """Show what was learned of an event type: facts, changes, and payloads without their content."""
    found = run(_show(load_settings(), event_type, api))
    if view.json:
        print_json([{**_summary(each.state), **_samples(each)} for each in found])
        return
    for each in found:
        state = each.state
        times = {"first": view.time(state.first_ms), "last": view.time(state.last_ms), "events": state.events}
        shares = {fact: f"{state.facts[fact]:.1%}" for fact in FACTS}
        print_fields(f"{state.type} {state.version}", {**times, **shares}, view)
        for change in state.changes:
            say(f"{change.what} since {view.time(change.at_ms)}", fg="red")
        for difference in each.differences:
            say(f"  {difference}")
        for name, sample in (("Usual", each.usual), ("Changed", each.changed)):
            if sample is not None:
                say(f"{name} payload of {view.time(sample.at_ms)}, without its content:")
                print_json(sample.payload)
    if any(each.state.changes for each in found):
        only = f" --api {api}" if api else ""
        say(f"If this is known and dealt with: relay contracts accept {event_type}{only}")


@command(
    app,
    examples=(
        "relay contracts accept message.received --why 'our handler reads both'",
        "relay contracts accept message.received --api v2 --json",
    ),
    view=("json",),
)
def accept(event_type: TypeArgument, *, api: ApiOption = None, why: WhyOption = "", view: View) -> None:
    """Accept the changes of an event type as known; facts that were lost are learned again."""
    accepted = run(_accept(load_settings(), event_type, why, api))
    if view.json:
        print_json({"accepted": [{"version": each.pair.version, "what": each.what} for each in accepted]})
        return
    say(f"{counted(len(accepted), 'change')} of {event_type} accepted.")


def _summary(state: ContractState) -> dict[str, Any]:
    fields = asdict(state)
    return {
        **{name: fields[name] for name in ("type", "version", "api", "events", "facts")},
        "first_at": state.first_ms,
        "last_at": state.last_ms,
        "changes": [{"what": change.what, "at": change.at_ms} for change in state.changes],
    }


def _samples(details: ContractDetails) -> dict[str, Any]:
    return {
        "usual": _sample(details.usual),
        "changed": _sample(details.changed),
        "differences": list(details.differences),
    }


def _sample(sample: Sample | None) -> dict[str, Any] | None:
    return None if sample is None else {"at": sample.at_ms, "payload": sample.payload}


async def _list(settings: Settings, api: Dialect | None) -> list[ContractState]:
    async with open_context(settings) as context:
        return await contracts.list_contracts(context, cli_principal(), api)


async def _show(settings: Settings, event_type: str, api: Dialect | None) -> list[ContractDetails]:
    async with open_context(settings) as context:
        return await contracts.get_contracts(context, cli_principal(), event_type, api)


async def _accept(settings: Settings, event_type: str, why: str, api: Dialect | None) -> Sequence[Change]:
    async with open_context(settings) as context:
        return await contracts.accept_changes(context, cli_principal(), event_type, why, api)
