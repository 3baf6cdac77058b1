"""`relay dead ... --group`: the dead letters of a pull group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from relay.cli.operator import cli_principal
from relay.cli.output import View, changed_or_would_be, counted, print_fields, print_json, print_table, say
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics.pull import dead_letters
from relay.services.topics.pull.dead_letters import Choice

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.core.event_filter import EventFilter
    from relay.services.topics.pull.dead_letters import LetterInFull
    from relay.store.keys import GroupName
    from relay.store.topics.pull.dead_letters import GroupLetter, Replayed

_LABELS = {"accepted_at": "accepted", "died_at": "dead since"}


def print_list(settings: Settings, name: GroupName, which: EventFilter, view: View) -> None:
    """Print the dead letters of a group, oldest first."""
    letters = run(_list(settings, name, which))
    if view.json:
        print_json([_summary(letter) for letter in letters])
        return
    columns = ("id", "type", "line", "dead since", "deliveries", "reason")
    rows = [
        (
            letter.record.id,
            letter.record.type,
            letter.record.line,
            view.time(letter.at),
            letter.deliveries,
            letter.full_reason,
        )
        for letter in letters
    ]
    print_table(f"Dead letters of {name}: {len(rows)}", columns, rows, view)


def print_in_full(settings: Settings, name: GroupName, which: EventFilter, view: View) -> None:
    """Print dead letters of a group with their bodies; exit code 1 if there are none."""
    found = run(_find(settings, name, which))
    if view.json:
        print_json([_in_full(each) for each in found])
    for number, each in enumerate(() if view.json else found):
        if number:
            say("")
        fields = _summary(each.letter) | {"can be replayed": each.is_kept}
        print_fields(f"Dead letter {each.letter.record.id}", fields, view, _LABELS)
        say(str(each.body))
    if not found:
        if not view.json:
            say("Nothing found.")
        raise typer.Exit(1)


def replay(settings: Settings, choice: Choice, why: str, view: View, *, dry_run: bool) -> int:
    """Give dead letters back to their group; print and return how many were found."""
    result = run(_replay(settings, choice, why, dry_run=dry_run))
    if view.json:
        gone = {"groups": {str(choice.group): result.replayed}, "gone": list(result.gone)}
        print_json(changed_or_would_be("replay", result.replayed, dry_run=dry_run) | gone)
        return result.replayed + len(result.gone)
    if result.replayed:
        say(f"{choice.group}: {result.replayed} {'would be ' if dry_run else ''}given back")
    if result.gone:
        say(
            f"{choice.group}: {counted(len(result.gone), 'dead letter')} cannot be given back: the topic no longer has "
            f"their events. relay dead show --group {choice.group} --json exports them, relay dead drop deletes them."
        )
    if not (result.replayed or result.gone):
        say("Nothing found.")
    return result.replayed + len(result.gone)


def drop(settings: Settings, choice: Choice, why: str, view: View, *, dry_run: bool) -> int:
    """Delete dead letters of a group; print and return how many."""
    dropped = run(_drop(settings, choice, why, dry_run=dry_run))
    if view.json:
        counts = {"groups": {str(choice.group): dropped}}
        print_json(changed_or_would_be("drop", dropped, dry_run=dry_run) | counts)
    else:
        say(f"{choice.group}: {dropped} {'would be ' if dry_run else ''}dropped" if dropped else "Nothing found.")
    return dropped


def _summary(letter: GroupLetter) -> dict[str, Any]:
    record = letter.record
    return {
        "id": record.id,
        "letter": record.entry,
        "topic": letter.topic,
        "group": letter.group,
        "type": record.type,
        "line": record.line,
        "chat": record.chat,
        "accepted_at": record.at,
        "died_at": letter.at,
        "reason": letter.reason,
        "error": letter.error,
        "deliveries": letter.deliveries,
        "member": letter.member,
        "entry": letter.entry,
    }


def _in_full(found: LetterInFull) -> dict[str, Any]:
    return _summary(found.letter) | {"is_replayable": found.is_kept, "body": str(found.body)}


async def _list(settings: Settings, name: GroupName, which: EventFilter) -> list[GroupLetter]:
    async with open_context(settings) as context:
        return [letter async for letter in dead_letters.every(context, cli_principal(), name, which)]


async def _find(settings: Settings, name: GroupName, which: EventFilter) -> list[LetterInFull]:
    async with open_context(settings) as context:
        letters = [letter async for letter in dead_letters.every(context, cli_principal(), name, which)]
        return await dead_letters.in_full(context, cli_principal(), name, letters)


async def _replay(settings: Settings, choice: Choice, why: str, *, dry_run: bool) -> Replayed:
    async with open_context(settings) as context:
        return await dead_letters.replay(context, cli_principal(), choice, why, dry_run=dry_run)


async def _drop(settings: Settings, choice: Choice, why: str, *, dry_run: bool) -> int:
    async with open_context(settings) as context:
        return await dead_letters.drop(context, cli_principal(), choice, why, dry_run=dry_run)
