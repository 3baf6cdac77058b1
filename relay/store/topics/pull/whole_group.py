"""A pull group as a whole: a consumer group of the topic's stream on every shard, whose members see one topic.

Entries and receipts are named with their shards (`sharding.places`), and what is done with them is done on the shard
that has them. If a shard does not answer, the others have done their parts before its error is raised.

A group is made on all shards or on none: while one is away the others do not make it, since it would begin there only
when that one is back. Where it is missing on some shards only (its making was interrupted, or they lost their data), it
is made as the request says; for "the next event" at the place that it has reached on the others.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from relay.core.errors import RelayError
from relay.store.driver.client import REDIS_ERRORS
from relay.store.driver.streams import order_of
from relay.store.sharding.places import entry_name, entry_of, grouped_by_shard
from relay.store.topics.pull.group import ABSENT, Delivered, Limits, Page, PullGroup, Receipt, Run
from relay.store.topics.topics import read_topics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis

NEXT = "$"
"""Start of a new group that gets only later events."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Reading(NamedTuple):
    """The request of a member, the same on every shard."""

    consumer: str
    start: str
    """The id after which a new group begins, or `NEXT`."""
    unused: float = 0
    """Seconds after which consumers that hold nothing are deleted; 0 for never."""


class UpTo(NamedTuple):
    """The result of acknowledging runs of events of several shards."""

    done: int | None
    """The number of events that were acknowledged; None if there is no such group."""
    left: list[Run]
    """The runs on shards that did not answer."""
    error: Exception | None
    """The error of one of these."""


class WholeGroup:
    """A pull group of a topic, on every shard."""

    def __init__(self, home: Redis, topic: str, name: str) -> None:
        """`home` is the client of the first shard."""
        self._shards, self._topic, self._name = home.shards, topic, name
        self.parts = tuple(PullGroup(shard, topic, name) for shard in home.shards)

    async def begin(
        self, reading: Reading, limits: Mapping[int, Limits], away: Mapping[int, Exception]
    ) -> dict[int, Page | Exception]:
        """Deliver events of all shards, as far as each has some; make the group if there is none.

        Returns the page of each shard, or the error of one that did not answer. `away` has the errors of those that are
        known not to answer: they are not asked.
        """
        found = dict(away) | await self.more(reading, {n: limit for n, limit in limits.items() if n not in away})
        absent = [n for n, page in found.items() if isinstance(page, Page) and page.state == ABSENT]
        present = [n for n, page in found.items() if isinstance(page, Page) and page.state != ABSENT]
        if not absent:
            return found
        error = next((page for page in found.values() if isinstance(page, Exception)), None)
        start = reading.start
        if present and start == NEXT:
            try:
                start = await self._reached(present)
            except REDIS_ERRORS as failed:
                return found | dict.fromkeys(absent, failed)
        elif error is not None and not present:
            return found | dict.fromkeys(absent, error)
        return found | await self._ask(reading._replace(start=start), {n: limits[n] for n in absent})

    async def more(self, reading: Reading, limits: Mapping[int, Limits]) -> dict[int, Page | Exception]:
        """Deliver events of these shards, as `begin`, but make no group."""
        return await self._ask(reading._replace(start=""), limits)

    async def acknowledge(self, entries: Sequence[str]) -> int | None:
        """Acknowledge events, as `PullGroup.acknowledge`, each on its shard."""
        found = await self._each(map(entry_of, entries), lambda part, here: part.acknowledge(here))
        return _sum(list(found.values()))

    async def acknowledge_runs(self, member: str, runs: Sequence[Run]) -> UpTo:
        """Acknowledge the events of these runs that `member` still holds, each run on its shard."""
        located = [(run._replace(last=last), n) for run in runs for last, n in [_located(run.last)]]
        found = await _gathered(
            {
                n: self.parts[n].acknowledge_runs(member, here)
                for n, here in grouped_by_shard(located, len(self.parts)).items()
            }
        )
        errors = {n: result for n, result in found.items() if isinstance(result, Exception)}
        counts = [result for result in found.values() if not isinstance(result, Exception)]
        left = [run for run in runs if entry_of(run.last.entry)[1] in errors]
        return UpTo(_sum(counts), left, next(iter(errors.values()), None))

    async def extend(self, receipts: Sequence[Receipt], visibility: float) -> list[str] | None:
        """Let events expire later, as `PullGroup.extend`, each on its shard."""
        return await self._settle(receipts, lambda part, here: part.extend(here, visibility))

    async def release(self, receipts: Sequence[Receipt], *, counts: bool = True) -> list[str] | None:
        """Hand events back, as `PullGroup.release`, each on its shard."""
        return await self._settle(receipts, lambda part, here: part.release(here, counts=counts))

    async def reject(self, receipts: Sequence[Receipt], error: str) -> list[str] | None:
        """Make dead letters of events, as `PullGroup.reject`, each on its shard."""
        return await self._settle(receipts, lambda part, here: part.reject(here, error))

    async def _ask(self, reading: Reading, limits: Mapping[int, Limits]) -> dict[int, Page | Exception]:
        pages = await _gathered(
            {
                n: self.parts[n].receive(reading.consumer, limit, start=reading.start, unused=reading.unused)
                for n, limit in limits.items()
            }
        )
        return {n: page if isinstance(page, Exception) else _named(page, n) for n, page in pages.items()}

    async def _reached(self, shards: Sequence[int]) -> str:
        """Return the least place that the group has reached on these shards."""
        topics = [await read_topics(self._shards[n], [self._topic]) for n in shards]
        positions = [group.position for [topic] in topics for group in topic.groups if group.name == self._name]
        return min(positions, key=order_of, default=NEXT)

    async def _settle(
        self, receipts: Sequence[Receipt], settle: Callable[[PullGroup, list[Receipt]], Awaitable[list[str] | None]]
    ) -> list[str] | None:
        found = await self._each(map(_located, receipts), settle)
        done = {n: entries for n, entries in found.items() if entries is not None}
        if found and not done:
            return None
        return [entry_name(entry, n) for n, entries in done.items() for entry in entries]

    async def _each(
        self, located: Iterable[tuple[Item, int]], do: Callable[[PullGroup, list[Item]], Awaitable[Result]]
    ) -> dict[int, Result]:
        """Return what `do` has done with the items of each shard; an error is raised when all shards are done."""
        found = await _gathered(
            {n: do(self.parts[n], here) for n, here in grouped_by_shard(located, len(self.parts)).items()}
        )
        done = {n: result for n, result in found.items() if not isinstance(result, Exception)}
        for result in found.values():
            if isinstance(result, Exception):
                raise result
        return done


async def _gathered(calls: Mapping[int, Awaitable[Result]]) -> dict[int, Result | Exception]:
    """Return the result of each call, or the error that it may have; all run at the same time."""
    if len(calls) == 1:
        [(number, call)] = calls.items()
        try:
            return {number: await call}
        except (RelayError, *REDIS_ERRORS) as error:
            return {number: error}
    found: dict[int, Result | Exception] = {}
    for number, result in zip(calls, await asyncio.gather(*calls.values(), return_exceptions=True), strict=True):
        if not isinstance(result, BaseException) or isinstance(result, (RelayError, *REDIS_ERRORS)):
            found[number] = result
        else:
            raise result
    return found


def _located(receipt: Receipt) -> tuple[Receipt, int]:
    """Return a receipt as its shard knows it, and the number of that."""
    entry, shard = entry_of(receipt.entry)
    return receipt._replace(entry=entry), shard


def _named(page: Page, shard: int) -> Page:
    """Return a page with the names of its entries."""
    if shard == 0:
        return page
    events = [
        Delivered(record._replace(entry=entry_name(record.entry, shard)), deliveries)
        for record, deliveries in page.events
    ]
    runs = [run._replace(last=run.last._replace(entry=entry_name(run.last.entry, shard))) for run in page.runs]
    return replace(page, events=events, runs=runs)


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return the sum of what is known; None if nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known or not counts else None
