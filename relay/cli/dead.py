"""`relay dead`: deliveries that were given up, and bodies that were set aside."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.output import JsonOption, console, local_time, print_json, print_table

if TYPE_CHECKING:
    from relay.store.aside import SetAside
    from relay.store.deadletters import DeadLetter

dead = typer.Typer(name="dead", help="Dead letters: list, show, replay.", no_args_is_help=True)

SubscriptionOption = Annotated[str | None, typer.Option("--subscription", help="Only of this subscription.")]
IdOption = Annotated[str | None, typer.Option("--id", help="Only of this event id.")]


@dead.command(name="list")
def list_(*, subscription: SubscriptionOption = None, event_id: IdOption = None, json: JsonOption = False) -> None:
    """List dead letters, oldest first, and what was set aside because it could not be read."""
    found = _find(subscription, event_id)
    if json:
        print_json([_summary(letter) for letter in found.letters] + [_aside_summary(one) for one in found.aside])
        return
    columns = ("id", "subscription", "type", "line", "died", "tries", "reason")
    rows = [
        (x.record.id, x.subscription, x.record.type, x.record.line, local_time(x.at), x.tries, x.reason)
        for x in found.letters
    ]
    print_table(f"Dead letters: {len(rows)}", columns, rows)
    if found.aside:
        aside = [
            (one.entry, one.dialect, one.line, local_time(one.at), len(one.body), one.reason) for one in found.aside
        ]
        print_table(f"Bodies set aside: {len(aside)}", ("entry", "api", "line", "came", "bytes", "reason"), aside)


@dead.command()
def show(*, subscription: SubscriptionOption = None, event_id: IdOption = None, json: JsonOption = False) -> None:
    """Show dead letters whole, with their payloads."""
    found = _find(subscription, event_id)
    if json:
        print_json(
            [{**_summary(letter), "body": _text(letter.record.body)} for letter in found.letters]
            + [{**_aside_summary(one), "body": _text(one.body)} for one in found.aside]
        )
    elif not found.letters and not found.aside:
        console.print("Nothing found.")
    else:
        _print_whole(found)
    if not found.letters and not found.aside:
        raise typer.Exit(1)


def _print_whole(found: _Found) -> None:
    for letter in found.letters:
        print_table(f"Dead letter {letter.record.id}", ("field", "value"), _summary(letter).items())
        typer.echo(_text(letter.record.body))
    for one in found.aside:
        print_table(f"Set aside {one.entry}", ("field", "value"), _aside_summary(one).items())
        typer.echo(_text(one.body))


@dead.command()
def replay(
    *,
    subscription: SubscriptionOption = None,
    event_id: IdOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every dead letter (of the subscription, if one is named).")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Send dead letters back to their subscriptions, with a whole budget of attempts."""
    if not (event_id or every):
        raise typer.BadParameter("say which: --id ID, or --all", param_hint="--id / --all")
    from relay.event_loop import run
    from relay.parts import load_settings

    replayed = run(_replay(load_settings(), subscription, event_id))
    if json:
        print_json({"replayed": sum(replayed.values()), "subscriptions": replayed})
    else:
        for name, count in replayed.items():
            console.print(f"{name}: {count} sent back")
        if not replayed:
            console.print("Nothing to replay.")
    if event_id and not replayed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Found:
    letters: list[DeadLetter]
    aside: list[SetAside]


def _find(subscription: str | None, event_id: str | None) -> _Found:
    from relay.event_loop import run
    from relay.parts import load_settings

    return run(_read(load_settings(), subscription, event_id))


async def _read(settings: Any, subscription: str | None, event_id: str | None) -> _Found:
    from relay.parts import open_store
    from relay.store.aside import Aside
    from relay.store.deadletters import DeadLetters

    async with open_store(settings) as redis:
        letters = await _letters(DeadLetters(redis), subscription, event_id)
        wants_aside = subscription is None
        aside = [one async for one in Aside(redis).all() if event_id in {None, one.entry}] if wants_aside else []
        return _Found(letters, aside)


async def _replay(settings: Any, subscription: str | None, event_id: str | None) -> dict[str, int]:
    from relay.config_file import read_config
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.deadletters import DeadLetters

    replayed: dict[str, int] = {}
    async with open_store(settings) as redis:
        dead_letters = DeadLetters(redis)
        by_lane: dict[str, list[str]] = {}
        for letter in await _letters(dead_letters, subscription, event_id):
            by_lane.setdefault(letter.subscription, []).append(letter.record.entry)
        known = {one.name for one in read_config(settings.relay_config).subscriptions}
        if gone := sorted(by_lane.keys() - known):
            raise RelayError(
                f"{', '.join(gone)} stands no longer in {settings.relay_config}, so nobody would deliver its events; "
                "name others with --subscription"
            )
        for name, entries in by_lane.items():
            replayed[name] = await dead_letters.replay(name, entries, round(time.time() * 1000))
    return replayed


async def _letters(dead_letters: Any, subscription: str | None, event_id: str | None) -> list[DeadLetter]:
    from relay.core.errors import RelayError

    lanes = await dead_letters.lanes()
    if subscription is not None:
        if subscription not in lanes:
            known = ", ".join(lanes) or "none yet"
            raise RelayError(f'no subscription "{subscription}" ever had an event (known: {known})')
        lanes = [subscription]
    return [letter for lane in lanes async for letter in dead_letters.of(lane) if event_id in {None, letter.record.id}]


def _summary(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    return {
        "id": record.id,
        "subscription": letter.subscription,
        "topic": letter.topic,
        "type": record.type,
        "line": record.line,
        "chat": record.chat,
        "accepted_at": record.at,
        "first_attempt_at": letter.first_at,
        "died_at": letter.at,
        "attempts": letter.tries,
        "status": letter.status,
        "reason": letter.reason,
        "detail": letter.detail,
    }


def _aside_summary(one: SetAside) -> dict[str, Any]:
    return {
        "id": one.entry,
        "subscription": None,
        "line": one.line,
        "accepted_at": one.at,
        "reason": f"unparsable: {one.reason}",
        "api": one.dialect,
    }


def _text(body: bytes) -> str:
    return body.decode(errors="replace")
