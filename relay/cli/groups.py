"""`relay groups`: the pull groups of the topics, moving one in its topic, and deleting one."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli import group_seek
from relay.cli.command import command, commands
from relay.cli.filters import DryRunOption, GroupArgument, parsed_group
from relay.cli.operator import WhyArgument, cli_principal
from relay.cli.output import View, counted, print_fields, print_json, print_table, say
from relay.config.load import load_settings
from relay.consumer.names import RETURNED
from relay.core.durations import format_duration
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics import groups, topics
from relay.services.topics.pull import states

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.settings import Settings
    from relay.services.topics.pull.states import OldestPending, PullGroup
    from relay.store.keys import GroupName

app = commands(
    "List, show, move and delete pull groups: the consumer groups of teams that read a topic themselves.",
    examples=("relay groups list", "relay groups seek support/billing --to 2h --dry-run"),
)
TopicOption = Annotated[str | None, typer.Option("--topic", metavar="NAME", help="Only the groups of this topic.")]
_ACTIVE_MS = 60_000
_KINDS = {"redis": "Redis", "http": "HTTP", "returned": "handed back"}


@command(app, "list", examples=("relay groups list", "relay groups list --topic support --json"))
def list_(*, topic: TopicOption = None, view: View) -> None:
    """List pull groups with their team, lag, dead letters, and the time since a member last asked for events.

    Groups of misspelt topics are listed too, if the user of Redis may look for them (SCAN): nothing is routed to these.
    """
    found, ghosts, now_ms = run(_list(load_settings(), topic))
    if view.json:
        print_json([_summary(group, ghosts) for group in found])
        return
    rows = [
        (
            f"{group.topic}/{group.name}",
            group.team,
            group.readers,
            group.lag,
            group.pending,
            _age(group.unread_since_ms and now_ms - group.unread_since_ms),
            group.dead,
            _age(group.idle_ms),
        )
        for group in found
    ]
    columns = ("group", "team", "members", "lag", "pending", "oldest", "dead", "asked")
    print_table(f"Pull groups: {len(rows)}", columns, rows, view)
    for group in found:
        if group.topic in ghosts:
            say(f"{group.topic}/{group.name} reads a topic that the relay does not have.{_hint(ghosts[group.topic])}")
        elif group.is_not_read(now_ms):
            name = f"{group.topic}/{group.name}"
            say(f"{name} is not read: start its consumer, or relay groups delete {name} 'no longer used'.")


@command(app, examples=("relay groups show support/billing", "relay groups show support/billing --json"))
def show(group: GroupArgument, *, view: View) -> None:
    """Show a pull group with its members and its oldest event that is not acknowledged."""
    found, oldest = run(_show(load_settings(), parsed_group(group)))
    if view.json:
        print_json(_summary(found) | {"oldest_pending": None if oldest is None else asdict(oldest)})
        return
    fields: dict[str, Any] = {
        "team": found.team,
        "lag": found.lag,
        "unread_since_at": found.unread_since_ms,
        "position": found.position,
        "position_at": found.position_ms,
        "pending": found.pending,
        "dead letters": found.dead,
        "asked": _age(found.idle_ms) + " ago" if found.idle_ms is not None else "",
    }
    if oldest is not None:
        idle = _age(oldest.idle_ms)
        times = "once" if oldest.deliveries == 1 else f"{oldest.deliveries} times"
        fields["oldest_pending"] = f"{oldest.entry}, delivered {times}"
        fields["it_is_with"] = f"{oldest.member}, for {idle}" if oldest.member != RETURNED else "handed back"
    print_fields(f"Pull group {found.topic}/{found.name}", fields, view, {"position": "has read up to"})
    rows = [(each.name, _KINDS[each.kind], each.pending, _age(each.idle_ms)) for each in found.members]
    print_table("Members", ("name", "kind", "pending", "asked"), rows, view)
    if found.dead:
        say(f"Its dead letters: relay dead list --group {found.topic}/{found.name}")


command(app, examples=group_seek.EXAMPLES)(group_seek.seek)


@command(
    app,
    examples=(
        "relay groups delete support/billing 'no longer used' --dry-run",
        "relay groups delete support/billing 'no longer used' --yes --dead keep",
    ),
    view=("json",),
)
def delete(
    group: GroupArgument,
    why: WhyArgument,
    *,
    dead: Annotated[
        str | None,
        typer.Option(metavar="keep|drop", help="Keep or drop its dead letters; required with --yes if it has any."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryRunOption = False,
    view: View,
) -> None:
    """Delete a pull group with its position.

    Its unread events stay in the topic for other readers. A consumer that still runs creates it again, and starts from
    the beginning. Dead letters that are kept can still be shown and dropped, and replayed once the group exists again.
    """
    if dead not in {None, "keep", "drop"}:
        raise typer.BadParameter(f'"{dead}" is neither keep nor drop', param_hint="--dead")
    name, settings = parsed_group(group), load_settings()
    found, _ = run(_show(settings, name))
    if not view.json:
        _print_effect(found)
    has_terminal = sys.stdin.isatty() and not view.json
    if found.dead and dead is None and not dry_run:
        if yes or not has_terminal:
            text = f"{name} has {counted(found.dead, 'dead letter')}; choose keep or drop for them"
            raise typer.BadParameter(text, param_hint="--dead")
        dead = "drop" if typer.confirm("Drop its dead letters, too?") else "keep"
    if not (dry_run or yes):
        if not has_terminal:
            raise typer.BadParameter("without a terminal, --yes is needed to confirm it", param_hint="--yes")
        typer.confirm("Delete the group?", abort=True)
    if not dry_run:
        run(_delete(settings, name, why, with_letters=dead == "drop"))
    if view.json:
        counts = {"unread": found.lag, "pending": found.pending, "dead": found.dead}
        what = {"dry_run": True} if dry_run else {"deleted": True, "dead_letters": dead or "keep"}
        print_json({"topic": name.topic, "group": name.group, **what, **counts})
    elif not dry_run:
        kept = f"; its dead letters are {'dropped' if dead == 'drop' else 'kept'}" if found.dead else ""
        say(f"{name} is deleted{kept}.")


def _print_effect(group: PullGroup) -> None:
    name = f"{group.topic}/{group.name}"
    letters = f", and {counted(group.dead, 'dead letter')}" if group.dead else ""
    say(f"{name} has {counted(group.lag, 'unread event')}, {group.pending} pending{letters}.")
    active = [each.name for each in group.members if each.kind != "returned" and each.idle_ms < _ACTIVE_MS]
    if active:
        say(f"It is being read by {', '.join(active)}: stop them first, or they create it again and start over.")


def _age(ms: int | None) -> str:
    return "" if ms is None else "0s" if ms < 1000 else format_duration(ms // 1000)


def _hint(nearest: str | None) -> str:
    return f' Did they mean "{nearest}"?' if nearest else ""


def _summary(group: PullGroup, ghosts: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    members = [
        {"name": each.name, "kind": each.kind, "pending": each.pending, "idle_ms": each.idle_ms}
        for each in group.members
    ]
    ghost = {"nearest_topic": ghosts[group.topic]} if ghosts and group.topic in ghosts else {}
    return asdict(group) | {"members": members, "is_topic_known": not ghost} | ghost


async def _list(settings: Settings, topic: str | None) -> tuple[list[PullGroup], dict[str, str | None], int]:
    """Return the groups, the misspelt topics with the names that are most like theirs, and the time."""
    async with open_context(settings) as context:
        principal = cli_principal()
        found = await groups.list_groups(context, principal, topic)
        if topic is not None:
            return found, {}, context.now_ms
        ghosts = await topics.list_ghosts(context, principal)
        found += await states.read_groups(context, principal, [ghost.name for ghost in ghosts])
        return found, {ghost.name: ghost.nearest for ghost in ghosts}, context.now_ms


async def _show(settings: Settings, name: GroupName) -> tuple[PullGroup, OldestPending | None]:
    async with open_context(settings) as context:
        found = await groups.get_group(context, cli_principal(), *name)
        return found, await states.oldest_pending(context, cli_principal(), found)


async def _delete(settings: Settings, name: GroupName, why: str, *, with_letters: bool) -> None:
    async with open_context(settings) as context:
        await groups.delete(context, cli_principal(), *name, why, with_letters=with_letters)
