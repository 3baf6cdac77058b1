"""`relay dead`: deliveries that were given up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.progress import Progress

from relay.cli.attempts import attempt_summary, print_attempts
from relay.cli.filters import (
    AllOption,
    DryRunOption,
    IdOption,
    LineOption,
    ReasonOption,
    SinceOption,
    SubscriptionOption,
    TypeOption,
    UntilOption,
    lanes_meant,
    meant_by,
    say_which,
)
from relay.cli.output import JsonOption, console, errors, local_time, print_json, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from relay.config.settings import Settings
    from relay.store.lanes.attempt_log import FoundAttempt
    from relay.store.lanes.dead_letters import DeadLetter, DeadLetterFilter, DeadLetters

dead = typer.Typer(name="dead", help="Dead letters: list, show, replay, drop.", no_args_is_help=True)

_AT_ONCE = 100  # without a rate

log = structlog.get_logger()


@dead.command(name="list")
def list_(
    *,
    subscription: SubscriptionOption = None,
    event_id: IdOption = None,
    event_type: TypeOption = None,
    line: LineOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    json: JsonOption = False,
) -> None:
    """List dead letters, oldest first."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    letters = run(_list(load_settings(), subscription, meant_by(event_id, event_type, line, reason, since, until)))
    if json:
        print_json([_summary(letter) for letter in letters])
        return
    columns = ("id", "subscription", "type", "line", "died", "tries", "reason")
    rows = [
        (x.record.id, x.subscription, x.record.type, x.record.line, local_time(x.at), x.tries, x.reason)
        for x in letters
    ]
    print_table(f"Dead letters: {len(rows)}", columns, rows)


@dead.command()
def show(
    *,
    subscription: SubscriptionOption = None,
    event_id: IdOption = None,
    event_type: TypeOption = None,
    line: LineOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    json: JsonOption = False,
) -> None:
    """Show dead letters whole, with their attempts and payloads."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    found = run(_find(load_settings(), subscription, meant_by(event_id, event_type, line, reason, since, until)))
    if json:
        print_json(
            [
                {
                    **_summary(letter),
                    "attempts": [attempt_summary(one) for one in found.attempts_of(letter)],
                    "body": _text(letter.record.body),
                }
                for letter in found.letters
            ]
        )
    elif not found.letters:
        console.print("Nothing found.")
    else:
        _print_whole(found)
    if not found.letters:
        raise typer.Exit(1)


def _print_whole(found: _Found) -> None:
    for letter in found.letters:
        print_table(f"Dead letter {letter.record.id}", ("field", "value"), _summary(letter).items())
        if attempts := found.attempts_of(letter):
            print_attempts("Its attempts, oldest first", attempts)
        typer.echo(printable(_text(letter.record.body)))


@dead.command()
def replay(
    *,
    subscription: SubscriptionOption = None,
    event_id: IdOption = None,
    event_type: TypeOption = None,
    line: LineOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    rate: Annotated[float | None, typer.Option(min=0.1, help="At most this many a second; Ctrl-C stops it.")] = None,
    json: JsonOption = False,
) -> None:
    """Send dead letters back to their subscriptions, with a whole budget of attempts."""
    which = meant_by(event_id, event_type, line, reason, since, until)
    say_which(which, every=every)
    from relay.parts import load_settings
    from relay.process.event_loop import run

    replayed = run(_replay(load_settings(), subscription, which, rate, dry_run=dry_run))
    _tell(replayed, "replayed", "would be sent back" if dry_run else "sent back", json=json)
    if event_id and not replayed:
        raise typer.Exit(1)


@dead.command()
def drop(
    why: Annotated[str, typer.Argument(help="Why, for the log.")],
    *,
    subscription: SubscriptionOption = None,
    event_id: IdOption = None,
    event_type: TypeOption = None,
    line: LineOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Drop dead letters for good; the ledger keeps their number."""
    which = meant_by(event_id, event_type, line, reason, since, until)
    say_which(which, every=every)
    from relay.parts import load_settings
    from relay.process.event_loop import run

    dropped = run(_drop(load_settings(), subscription, which, why, dry_run=dry_run))
    _tell(dropped, "dropped", "would be dropped" if dry_run else "dropped", json=json)
    if event_id and not dropped:
        raise typer.Exit(1)


def _tell(counts: dict[str, int], field: str, what: str, *, json: bool) -> None:
    if json:
        print_json({field: sum(counts.values()), "subscriptions": counts})
        return
    for name, count in counts.items():
        console.print(f"{name}: {count} {what}")
    if not counts:
        console.print("Nothing found.")


@dataclass(frozen=True, slots=True)
class _Found:
    letters: list[DeadLetter]
    attempts: dict[tuple[str, str, str], list[FoundAttempt]]
    """Those of the events of `letters`, oldest first, by subscription, event id and topic."""

    def attempts_of(self, letter: DeadLetter) -> list[FoundAttempt]:
        return self.attempts.get((letter.subscription, letter.record.id, letter.topic), [])


async def _list(settings: Settings, subscription: str | None, which: DeadLetterFilter) -> list[DeadLetter]:
    from relay.parts import open_store
    from relay.store.lanes.dead_letters import DeadLetters

    async with open_store(settings) as redis:
        return await _letters(DeadLetters(redis), subscription, which)


async def _find(settings: Settings, subscription: str | None, which: DeadLetterFilter) -> _Found:
    from relay.parts import open_store
    from relay.store.lanes.dead_letters import DeadLetters

    async with open_store(settings) as redis:
        letters = await _letters(DeadLetters(redis), subscription, which)
        return _Found(letters, await _attempts(redis, letters))


async def _attempts(redis: Redis, letters: Sequence[DeadLetter]) -> dict[tuple[str, str, str], list[FoundAttempt]]:
    from relay.store.lanes.attempt_log import AttemptFilter, attempts_of

    ids: dict[str, set[str]] = {}
    for letter in letters:
        ids.setdefault(letter.subscription, set()).add(letter.record.id)
    attempts: dict[tuple[str, str, str], list[FoundAttempt]] = {}
    for name, event_ids in ids.items():
        async for one in attempts_of(redis, name, AttemptFilter(event_ids=event_ids)):
            attempts.setdefault((name, one.attempt.event_id, one.attempt.topic), []).insert(0, one)
    return attempts


async def _replay(
    settings: Settings, subscription: str | None, which: DeadLetterFilter, rate: float | None, *, dry_run: bool
) -> dict[str, int]:
    from relay.config.file import read_config
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.lanes.dead_letters import DeadLetters

    async with open_store(settings) as redis:
        dead_letters = DeadLetters(redis)
        by_lane = _by_lane(await _letters(dead_letters, subscription, which))
        known = {one.name for one in read_config(settings.relay_config).subscriptions}
        if gone := sorted(by_lane.keys() - known):
            raise RelayError(
                f"{', '.join(gone)} stands no longer in {settings.relay_config}, so nobody would deliver its events; "
                "name others with --subscription"
            )
        if dry_run:
            return {name: len(entries) for name, entries in by_lane.items()}
        return {name: await _send_back(dead_letters, name, entries, rate) for name, entries in by_lane.items()}


async def _send_back(dead_letters: DeadLetters, name: str, entries: Sequence[str], rate: float | None) -> int:
    """Sends the dead letters of one lane back, a part at a time; each part is whole, whenever somebody stops it."""
    part = _AT_ONCE if rate is None else max(round(rate / 10), 1)
    replayed = 0
    with Progress(console=errors, transient=True, disable=rate is None) as progress:
        task = progress.add_task(name, total=len(entries))
        for start in range(0, len(entries), part):
            if rate is not None and start:
                await asyncio.sleep(part / rate)
            replayed += await dead_letters.replay(name, entries[start : start + part], round(time.time() * 1000))
            progress.advance(task, part)
    return replayed


async def _drop(
    settings: Settings, subscription: str | None, which: DeadLetterFilter, why: str, *, dry_run: bool
) -> dict[str, int]:
    from relay.parts import open_store
    from relay.store.lanes.dead_letters import DeadLetters

    async with open_store(settings) as redis:
        dead_letters = DeadLetters(redis)
        by_lane = _by_lane(await _letters(dead_letters, subscription, which))
        if dry_run:
            return {name: len(entries) for name, entries in by_lane.items()}
        dropped = {
            name: await dead_letters.drop(name, entries, round(time.time() * 1000)) for name, entries in by_lane.items()
        }
    for name, count in dropped.items():
        log.warning("dead.dropped", subscription=name, events=count, why=why)
    return dropped


def _by_lane(letters: Sequence[DeadLetter]) -> dict[str, list[str]]:
    by_lane: dict[str, list[str]] = {}
    for letter in letters:
        by_lane.setdefault(letter.subscription, []).append(letter.record.entry)
    return by_lane


async def _letters(dead_letters: DeadLetters, subscription: str | None, which: DeadLetterFilter) -> list[DeadLetter]:
    lanes = lanes_meant(subscription, await dead_letters.lanes())
    return [letter for lane in lanes async for letter in dead_letters.of(lane, which)]


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
        "tries": letter.tries,
        "status": letter.status,
        "reason": letter.reason,
        "detail": letter.detail,
    }


def _text(body: bytes) -> str:
    return body.decode(errors="replace")
