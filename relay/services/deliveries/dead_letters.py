"""Dead letters: looking at them, sending them back to their subscriptions, and dropping them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Hint, Invalid, NotFound, Problem
from relay.core.event_filter import EventFilter
from relay.services.access import lanes_of, subscriptions_of
from relay.services.page import DEFAULT_LIMIT, Page, bound_at, check_limit, page_of, place_of
from relay.store.driver.streams import SKEW_MS
from relay.store.lanes.attempts.log import FoundAttempt, attempts_of
from relay.store.lanes.many.dead_letters import AllDeadLetters, letter_at
from relay.store.sharding.places import is_entry_name
from relay.store.sharding.shards import Shards
from relay.store.sharding.streams import Bounds, merged_shards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.driver.merged_streams import Entry
    from relay.store.lanes.dead_letters import DeadLetter

_BATCH = 100  # dead letters in one step, without a rate
_ANY = EventFilter()

log = structlog.get_logger()


class Progress(NamedTuple):
    """The progress of a change, subscription by subscription."""

    subscription: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The dead letters that a change is about."""

    subscription: str | None = None
    """Only those of this one."""
    which: EventFilter = _ANY
    ids: Sequence[str] | None = None
    """Only these dead letters of `subscription` (the ids of their entries); the filter is then left out."""


@dataclass(frozen=True, slots=True)
class DeadLetterInFull:
    """A dead letter with its attempts."""

    letter: DeadLetter
    attempts: tuple[FoundAttempt, ...]
    """Oldest first."""


async def search(
    context: Context,
    principal: Principal,
    subscription: str | None = None,
    which: EventFilter = _ANY,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[DeadLetter]:
    """Return a page of dead letters, oldest first over all subscriptions.

    Raises:
        NotFound: there is no subscription of that name.
        Invalid: the cursor or the limit is wrong.
    """
    principal.require(Scope.READ)
    after, limit = place_of(cursor), check_limit(limit)
    lanes = await lanes_of(context, principal, subscription)
    since = bound_at(which.since_ms, SKEW_MS)

    def matching(entry: Entry) -> DeadLetter | None:
        letter = letter_at(entry)
        return letter if which.matches(letter.as_candidate()) else None

    entries = merged_shards(
        Shards.from_home(context.redis),
        lambda shard: {name: shard.key.lane(name, "dead") for name in lanes},
        **Bounds(after=after, since=since, count=limit),
    )
    return await page_of(entries, limit, matching)


async def every(
    context: Context, principal: Principal, subscription: str | None = None, which: EventFilter = _ANY
) -> AsyncIterator[DeadLetter]:
    """Yield all dead letters that match, by subscription, the oldest first; reads all of them.

    Raises:
        NotFound: there is no subscription of that name.
    """
    principal.require(Scope.READ)
    async for letter in _every(context, principal, subscription, which):
        yield letter


async def get(context: Context, principal: Principal, subscription: str, letter_id: str) -> DeadLetterInFull:
    """Return a dead letter by the id of its entry, with its attempts.

    Raises:
        NotFound: there is none.
    """
    principal.require(Scope.READ)
    letters = await _by_ids(context, principal, subscription, [letter_id])
    if not letters:
        raise NotFound(f'{subscription} has no dead letter "{letter_id}"; it may have been replayed or dropped')
    [found] = await in_full(context, principal, letters)
    return found


async def in_full(context: Context, principal: Principal, letters: Sequence[DeadLetter]) -> list[DeadLetterInFull]:
    """Return dead letters with their attempts."""
    principal.require(Scope.READ)
    by_lane: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        by_lane.setdefault(letter.subscription, []).append(letter)
    attempts: dict[tuple[str, str, str], list[FoundAttempt]] = {}
    for name, of_lane in by_lane.items():
        which = EventFilter(
            event_ids={letter.record.id for letter in of_lane},
            since_ms=max(min(letter.record.at for letter in of_lane) - SKEW_MS, 0),
        )
        for number, shard in enumerate(context.redis.shards):  # an event is on one
            async for found in attempts_of(shard, name, which):
                attempt = found.on(number)
                attempts.setdefault((name, found.attempt.event_id, found.attempt.topic), []).insert(0, attempt)
    return [
        DeadLetterInFull(letter, tuple(attempts.get((letter.subscription, letter.record.id, letter.topic), ())))
        for letter in letters
    ]


async def replay(  # noqa: PLR0913  a choice and its options
    context: Context,
    principal: Principal,
    choice: Choice,
    why: str = "",
    *,
    rate: float | None = None,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, int]:
    """Send dead letters back to their subscriptions, with all their attempts again; return how many, by subscription.

    `rate` is the maximum number of events a second. It can be cancelled between two batches.

    Raises:
        NotFound: there is no subscription of that name.
        Conflict: a subscription is no longer in the rules.
        StoreError: too many replayed events of a subscription wait already.
    """
    principal.require(Scope.REPLAY)
    if rate is not None and not 0 < rate < float("inf"):
        raise Invalid(Problem("rate", f"{rate:g} is not a number of events a second"))
    by_lane = await _chosen(context, principal, choice)
    known = subscriptions_of(await context.config(), principal)
    if gone := sorted(by_lane.keys() - known.keys()):
        raise Conflict(
            f"{', '.join(gone)} is no longer in {context.settings.relay_config}, so no worker would deliver its events",
            hint=Hint("choose another one with --subscription", 'choose another one with "subscription"'),
        )
    if dry_run:
        return _counts(by_lane)
    await _record(context, principal, "dead replay", by_lane, why)
    return {name: await _send_back(context, name, ids, rate, progress) for name, ids in by_lane.items()}


async def drop(
    context: Context,
    principal: Principal,
    choice: Choice,
    why: str,
    *,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, int]:
    """Delete dead letters; return how many, by subscription. The ledger keeps their number.

    Raises:
        NotFound: there is no subscription of that name.
    """
    principal.require(Scope.REPLAY)
    by_lane = await _chosen(context, principal, choice)
    if dry_run:
        return _counts(by_lane)
    await _record(context, principal, "dead drop", by_lane, why)
    letters = AllDeadLetters(context.redis)
    dropped = {}
    for name, ids in by_lane.items():
        dropped[name] = 0
        for start in range(0, len(ids), _BATCH):
            dropped[name] += await letters.drop(name, ids[start : start + _BATCH], context.now_ms)
            _tell(progress, name, start + _BATCH, len(ids))
        log.warning("dead.dropped", subscription=name, events=dropped[name], why=why)
    return dropped


async def _send_back(
    context: Context,
    name: str,
    ids: Sequence[str],
    rate: float | None,
    progress: Callable[[Progress], None] | None,
) -> int:
    """Send the dead letters of one lane back in batches; each batch is one step, so it can be stopped between them."""
    letters = AllDeadLetters(context.redis)
    batch = _BATCH if rate is None else max(round(rate / 10), 1)
    replayed = 0
    for start in range(0, len(ids), batch):
        if rate is not None and start:
            await asyncio.sleep(batch / rate)
        replayed += await letters.replay(name, ids[start : start + batch], context.now_ms)
        _tell(progress, name, start + batch, len(ids))
    return replayed


def _tell(progress: Callable[[Progress], None] | None, name: str, done: int, total: int) -> None:
    if progress is not None:
        progress(Progress(name, min(done, total), total))


async def _chosen(context: Context, principal: Principal, choice: Choice) -> dict[str, list[str]]:
    """Return the ids of the chosen dead letters, by subscription."""
    by_lane: dict[str, list[str]] = {}
    if choice.ids is None:
        async for letter in _every(context, principal, choice.subscription, choice.which):
            by_lane.setdefault(letter.subscription, []).append(letter.record.entry)
        return by_lane
    if choice.subscription is None:
        raise Invalid(Problem("subscription", "ids of dead letters are those of one subscription; name it"))
    for letter in await _by_ids(context, principal, choice.subscription, choice.ids):
        by_lane.setdefault(letter.subscription, []).append(letter.record.entry)
    return by_lane


async def _every(
    context: Context, principal: Principal, subscription: str | None, which: EventFilter
) -> AsyncIterator[DeadLetter]:
    letters = AllDeadLetters(context.redis)
    for lane in await lanes_of(context, principal, subscription):
        async for letter in letters.of(lane, which):
            yield letter


async def _by_ids(context: Context, principal: Principal, subscription: str, ids: Iterable[str]) -> list[DeadLetter]:
    """Return the dead letters of a subscription with these ids, without those that do not exist."""
    lanes = await lanes_of(context, principal, subscription)
    return [letter for lane in lanes for letter in await AllDeadLetters(context.redis).by_ids(lane, _checked(ids))]


def _checked(ids: Iterable[str]) -> list[str]:
    return [letter_id for letter_id in dict.fromkeys(ids) if is_entry_name(letter_id)]


def _counts(by_lane: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {name: len(ids) for name, ids in by_lane.items()}


async def _record(
    context: Context, principal: Principal, command: str, by_lane: Mapping[str, Sequence[str]], why: str
) -> None:
    for name, ids in by_lane.items():
        await context.record(principal, command, name, len(ids), why)
