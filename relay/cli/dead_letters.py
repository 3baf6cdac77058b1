"""Reading, replaying and dropping dead letters, for `relay dead`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from relay.cli.filters import chosen_lanes
from relay.cli.operator import record
from relay.cli.progress import progress
from relay.config.file import read_config
from relay.core.errors import RelayError
from relay.core.event_filter import EventFilter
from relay.parts import open_store
from relay.store.lanes.attempt_log import FoundAttempt, attempts_of
from relay.store.lanes.dead_letters import DeadLetter, DeadLetters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config.settings import Settings
    from relay.store.driver.client import Redis

_BATCH = 100  # dead letters in one step, without a rate

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """Dead letters with their attempts."""

    letters: list[DeadLetter]
    attempts: dict[tuple[str, str, str], list[FoundAttempt]]
    """The attempts of the events of `letters`, oldest first, by subscription, event id and topic."""

    def attempts_of(self, letter: DeadLetter) -> list[FoundAttempt]:
        """Return the attempts of one dead letter, oldest first."""
        return self.attempts.get((letter.subscription, letter.record.id, letter.topic), [])


async def list_letters(settings: Settings, subscription: str | None, which: EventFilter) -> list[DeadLetter]:
    """Return the dead letters that match."""
    async with open_store(settings) as redis:
        return await _letters(DeadLetters(redis), subscription, which)


async def find_letters(settings: Settings, subscription: str | None, which: EventFilter) -> Found:
    """Return the dead letters that match, with their attempts."""
    async with open_store(settings) as redis:
        letters = await _letters(DeadLetters(redis), subscription, which)
        return Found(letters, await _attempts(redis, letters))


async def replay_letters(
    settings: Settings, subscription: str | None, which: EventFilter, rate: float | None, why: str, *, dry_run: bool
) -> dict[str, int]:
    """Send dead letters back to their lanes; return how many, by subscription.

    Raises:
        RelayError: a subscription is no longer in relay.toml.
    """
    async with open_store(settings) as redis:
        dead_letters = DeadLetters(redis)
        by_lane = _by_lane(await _letters(dead_letters, subscription, which))
        known = {configured.name for configured in read_config(settings.relay_config).subscriptions}
        if gone := sorted(by_lane.keys() - known):
            raise RelayError(
                f"{', '.join(gone)} is no longer in {settings.relay_config}, so no worker would deliver its events; "
                "choose another subscription with --subscription"
            )
        if dry_run:
            return {name: len(entries) for name, entries in by_lane.items()}
        await _record(redis, "dead replay", by_lane, why)
        return {name: await _send_back(dead_letters, name, entries, rate) for name, entries in by_lane.items()}


async def drop_letters(
    settings: Settings, subscription: str | None, which: EventFilter, why: str, *, dry_run: bool
) -> dict[str, int]:
    """Delete dead letters; return how many, by subscription."""
    async with open_store(settings) as redis:
        dead_letters = DeadLetters(redis)
        by_lane = _by_lane(await _letters(dead_letters, subscription, which))
        if dry_run:
            return {name: len(entries) for name, entries in by_lane.items()}
        await _record(redis, "dead drop", by_lane, why)
        dropped = {
            name: await dead_letters.drop(name, entries, round(time.time() * 1000)) for name, entries in by_lane.items()
        }
    for name, count in dropped.items():
        log.warning("dead.dropped", subscription=name, events=count, why=why)
    return dropped


async def _record(redis: Redis, command: str, by_lane: Mapping[str, Sequence[str]], why: str) -> None:
    for name, entries in by_lane.items():
        await record(redis, command, name, len(entries), why)


async def _attempts(redis: Redis, letters: Sequence[DeadLetter]) -> dict[tuple[str, str, str], list[FoundAttempt]]:
    ids: dict[str, set[str]] = {}
    for letter in letters:
        ids.setdefault(letter.subscription, set()).add(letter.record.id)
    attempts: dict[tuple[str, str, str], list[FoundAttempt]] = {}
    for name, event_ids in ids.items():
        async for found in attempts_of(redis, name, EventFilter(event_ids=event_ids)):
            attempts.setdefault((name, found.attempt.event_id, found.attempt.topic), []).insert(0, found)
    return attempts


async def _send_back(dead_letters: DeadLetters, name: str, entries: Sequence[str], rate: float | None) -> int:
    """Send the dead letters of one lane back in batches; each batch is one step, so it can be stopped between them."""
    batch = _BATCH if rate is None else max(round(rate / 10), 1)
    replayed = 0
    with progress(disable=rate is None) as bars:
        task = bars.add_task(name, total=len(entries))
        for start in range(0, len(entries), batch):
            if rate is not None and start:
                await asyncio.sleep(batch / rate)
            replayed += await dead_letters.replay(name, entries[start : start + batch], round(time.time() * 1000))
            bars.advance(task, batch)
    return replayed


def _by_lane(letters: Sequence[DeadLetter]) -> dict[str, list[str]]:
    by_lane: dict[str, list[str]] = {}
    for letter in letters:
        by_lane.setdefault(letter.subscription, []).append(letter.record.entry)
    return by_lane


async def _letters(dead_letters: DeadLetters, subscription: str | None, which: EventFilter) -> list[DeadLetter]:
    lanes = chosen_lanes(subscription, await dead_letters.lanes())
    return [letter for lane in lanes async for letter in dead_letters.of(lane, which)]
