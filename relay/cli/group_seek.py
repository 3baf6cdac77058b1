"""`relay groups seek`: a pull group moves back or forward in its topic."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.filters import GroupArgument, parsed_group, parsed_past_time
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics import groups
from relay.services.topics.groups import SeekPlan, Target
from relay.store.sharding.places import is_entry_name
from relay.store.topics.history import BEGINNING, ms_of

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.keys import GroupName

EXAMPLES = (
    "relay groups seek support/billing --to 2h --dry-run",
    "relay groups seek support/billing --to end --yes",
)


def seek(
    group: GroupArgument,
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="POSITION",
            help="Where the group continues: 2h or 7d (ago), a time, an entry id, 0 or start, $ or end.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    why: WhyOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the effect; change nothing.")] = False,
    view: View,
) -> None:
    """Move a pull group back or forward in its topic, after showing the effect.

    Events that its members have and did not acknowledge are delivered again if they are after the new position.
    """
    target, name = _target(to), parsed_group(group)
    settings = load_settings()
    plan = run(_plan(settings, name, target))
    if not view.json:
        _print_plan(plan, view)
    moves = not dry_run and not plan.is_noop
    if moves and not yes:
        if view.json or not sys.stdin.isatty():
            raise typer.BadParameter("without a terminal, --yes is needed to confirm the move", param_hint="--yes")
        typer.confirm("Move the group?", abort=True)
    if moves:
        run(_seek(settings, plan, why))
    if view.json:
        oldest = {"history_since": plan.extent.oldest_ms, "is_complete": plan.is_complete}
        effect = {"is_back": plan.is_back, "skipped": plan.skipped}
        print_json({**asdict(plan.move), **effect, **oldest, "dry_run": dry_run, "moved": moves})
    elif moves:
        say(f"{name} is moved.")


def _target(text: str) -> Target:
    if text in {"0", "start"}:
        return Target.start()
    if text in {"$", "end"}:
        return Target.end()
    if is_entry_name(text):
        return Target.at_entry(text)
    ms = parsed_past_time(text, "--to")
    assert ms is not None  # noqa: S101  the text is not None
    return Target.at(ms)


async def _plan(settings: Settings, name: GroupName, target: Target) -> SeekPlan:
    async with open_context(settings) as context:
        return await groups.plan(context, cli_principal(), *name, target)


def _print_plan(plan: SeekPlan, view: View) -> None:
    move, extent = plan.move, plan.extent
    if plan.is_noop:
        say(f"{move.group} is already at this position.")
        return
    say(f"{move.group} is {_position(move.current, view)}.")
    again = move.events - plan.skipped
    if not plan.is_back:
        effect = f"It would skip {counted(move.events, 'event')}"
    elif plan.skipped:  # it is ahead of the position on some shards, and behind it on others
        effect = f"It would read {counted(again, 'event')} again and skip {counted(plan.skipped, 'event')}"
    else:
        effect = f"It would read {counted(again, 'event')} again"
    following = f"the event of {_time(move.next, view)}" if move.next else "the next one that is routed"
    say(f"{effect}: its next event is {following}.")
    if not plan.is_complete and extent.oldest_ms is not None:
        say(f"Events routed before {view.time(extent.oldest_ms)} are no longer stored.")
    if move.consumers:
        rows = [(consumer.name, consumer.before, consumer.beyond) for consumer in move.consumers]
        print_table("Pending events (read, not acknowledged)", ("consumer", "stay pending", "read again"), rows, view)


def _position(entry: str, view: View) -> str:
    return "at the beginning" if entry == BEGINNING else f"after the event of {_time(entry, view)}"


def _time(entry: str, view: View) -> str:
    return f"{view.time(ms_of(entry))} ({entry})"


async def _seek(settings: Settings, plan: SeekPlan, why: str) -> None:
    async with open_context(settings) as context:
        await groups.seek(context, cli_principal(), plan, why)
