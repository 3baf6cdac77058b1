"""`relay lines`: our numbers at Linq, their activity and health, what takes them, and who has opted out of them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyArgument, cli_principal
from relay.cli.output import View, counted, print_fields, print_json, print_table, say
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.operators import lines, opt_outs
from relay.services.page import DEFAULT_LIMIT, MAX_LIMIT

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.services.operators.lines import LineState
    from relay.services.operators.opt_outs import OptOut, Permission
    from relay.services.page import Page

app = commands(
    "List and show our numbers at Linq, their activity and health; list, check and erase opt-outs.",
    examples=("relay lines list", "relay lines show +16465550123", "relay lines opt-outs +16465550123"),
)
LineArgument = Annotated[str, typer.Argument(metavar="LINE", help="The number, in E.164, such as +16465550123.")]


@command(app, "list", examples=("relay lines list", "relay lines list --json"))
def list_(*, view: View) -> None:
    """List the lines with their state, their last events, and their events of a day against their usual week.

    A line is silent if four hours have passed in which it usually has events, and it had none.
    """
    found = run(_list(load_settings()))
    if view.json:
        print_json([asdict(line) for line in found])
        return
    has_accounts = any(line.account for line in found)
    columns = ("line", *(("account",) if has_accounts else ()), "state", "type", "team", "last event", "24 h", "usual")
    rows = [
        (
            line.line,
            *((line.account,) if has_accounts else ()),
            line.state.value,
            line.kind,
            ", ".join(line.teams),
            view.time(line.last_event_ms, "never"),
            line.events_last_day,
            _usual(line),
        )
        for line in found
    ]
    print_table(f"Lines: {len(found)}", columns, rows, view)
    for line in found:
        if line.fault:
            say(f"{line.line}: {line.fault}")


@command(app, examples=("relay lines show +16465550123", "relay lines show +16465550123 --json"))
def show(line: LineArgument, *, view: View) -> None:
    """Show a line: its state at Linq, its last events, its last two weeks, and who gets its events."""
    found = run(_show(load_settings(), line))
    if view.json:
        print_json(asdict(found))
        return
    judged = "its usual week" if found.has_rhythm else "silent_after of [linq]: it is too new for a usual week"
    fields = {
        "state": found.state.value,
        "account": found.account,
        "type": found.kind,
        "status": found.status,
        "reputation": found.reputation,
        "listed_at": found.listed_ms,
        "released_at": found.released_ms,
        "last_event_at": found.last_event_ms,
        "last_inbound_at": found.last_inbound_ms,
        "last_outbound_at": found.last_outbound_ms,
        "events in 24 h": found.events_last_day,
        "usually": _usual(found),
        "silence is judged by": judged,
        "teams": ", ".join(found.teams),
        "topics": ", ".join(found.topics),
        "subscriptions": ", ".join(found.subscriptions),
        "opt-outs": found.opt_outs,
        "fault": found.fault,
    }
    shown = {name: value for name, value in fields.items() if value not in {None, ""}}
    print_fields(f"Line {found.line}", shown, view, {"listed_at": "listed by Linq", "released_at": "taken by Linq"})
    generations = [
        (each.number, each.subscription_id, view.time(each.stored_at * 1000), _retires(each.retire_at, view))
        for each in found.generations
    ]
    print_table("Subscriptions at Linq", ("generation", "id", "secret stored", "replaced"), generations, view)
    if found.days:
        days = [
            (datetime.fromtimestamp(day.begin_ms / 1000, UTC).strftime("%a %Y-%m-%d"), day.events) for day in found.days
        ]
        print_table("Events by day (UTC)", ("day", "events"), days, view)


@command(
    app,
    "opt-outs",
    examples=(
        "relay lines opt-outs +16465550123",
        "relay lines opt-outs +16465550123 --handle +13035550188",
        "relay lines opt-outs +16465550123 --limit 500 --json",
    ),
)
def opt_outs_(
    line: LineArgument,
    *,
    handle: Annotated[
        str | None, typer.Option("--handle", metavar="HANDLE", help="Say whether the line may write to this one.")
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="COUNT", min=1, max=MAX_LIMIT, help="Number of handles, at most.")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Show the next page, by the cursor that the last one printed.")
    ] = None,
    view: View,
) -> None:
    """List the handles that answered STOP on a line and not START since, the oldest first.

    Needs opt_outs = true in [linq] of relay.toml. With --handle, the exit code is 1 if it has opted out.
    """
    if handle is not None:
        _say_permission(run(_ask(load_settings(), line, handle)), view)
        return
    found = run(_opt_outs(load_settings(), line, cursor, limit))
    if view.json:
        print_json({"items": [each._asdict() for each in found.items], "next": found.next})
        return
    rows = [(each.handle, view.time(each.at_ms)) for each in found.items]
    print_table(f"Opt-outs of {line}", ("handle", "since"), rows, view)
    if found.next:
        say(f"There are more: relay lines opt-outs {line} --limit {limit} --cursor {found.next}")


@command(
    app,
    examples=(
        "relay lines erase +13035550188 'asked to be forgotten'",
        "relay lines erase ann@example.com 'left the programme' --json",
    ),
    view=("json",),
)
def erase(
    handle: Annotated[str, typer.Argument(metavar="HANDLE", help="A number in E.164, or an e-mail address.")],
    why: WhyArgument,
    *,
    view: View,
) -> None:
    """Erase a handle from the opt-outs of every line; topics keep its events until they are too old.

    Lines may then write to it, as far as the relay knows. relay audit shows that a handle was erased, not which.
    """
    erased = run(_erase(load_settings(), handle, why))
    if view.json:
        print_json({"lines": erased})
    elif erased:
        say(f"Erased from {counted(len(erased), 'line')}: {', '.join(erased)}.")
    else:
        say("No line has a record of it.")


def _say_permission(permission: Permission, view: View) -> None:
    if view.json:
        print_json(asdict(permission))
    elif permission.may_write:
        say(f"{permission.line} may write to {permission.handle}: it has not opted out.")
    else:
        since = view.time(permission.opted_out_ms)
        say(f"{permission.line} must not write to {permission.handle}: it has opted out at {since}.")
    if not permission.may_write:
        raise typer.Exit(1)


def _usual(line: LineState) -> str:
    return "" if line.events_usual_day is None else f"{line.events_usual_day:.0f}"


def _retires(seconds: int | None, view: View) -> str:
    return "" if seconds is None else view.time(seconds * 1000)


async def _list(settings: Settings) -> list[LineState]:
    async with open_context(settings) as context:
        return await lines.list_lines(context, cli_principal())


async def _show(settings: Settings, line: str) -> LineState:
    async with open_context(settings) as context:
        return await lines.get_line(context, cli_principal(), line)


async def _opt_outs(settings: Settings, line: str, cursor: str | None, limit: int) -> Page[OptOut]:
    async with open_context(settings) as context:
        return await opt_outs.list_opt_outs(context, cli_principal(), line, cursor, limit)


async def _ask(settings: Settings, line: str, handle: str) -> Permission:
    async with open_context(settings) as context:
        return await opt_outs.ask(context, cli_principal(), line, handle)


async def _erase(settings: Settings, handle: str, why: str) -> list[str]:
    async with open_context(settings) as context:
        return await opt_outs.erase(context, cli_principal(), handle, why)
