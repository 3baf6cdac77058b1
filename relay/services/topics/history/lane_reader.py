"""Reading of what the lanes of push subscriptions have of an event."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.streams import SKEW_MS, is_missing_group, pages
from relay.store.isolation import is_wrong_type
from relay.store.lanes.attempt_log import FoundAttempt
from relay.store.lanes.attempt_record import AttemptRecord, UnreadableAttempt, condition_on, is_of
from relay.store.lanes.lane import Ref
from relay.store.topics.stream_search import NEWEST, SMALL, Condition, Found, Kind, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.services.topics.history.scan import Budget
    from relay.services.topics.history.view import EventView, Place
    from relay.store.driver.client import Redis

_MAX_ATTEMPTS = 200  # of an event at one subscription
_LANES = 50  # asked in one round trip
_AT_ONCE = 8  # lanes that are searched at the same time


class Reading(NamedTuple):
    """The immediate state of a lane."""

    position: str
    """The last entry of the topic that it has read; empty if it does not read the topic."""
    is_pending: bool
    due_ms: int | None
    blocked_by: bytes | None
    """The dead letter that blocks the event's chat."""


class Logs(NamedTuple):
    """The traces of an event in the streams of a lane."""

    attempts: tuple[FoundAttempt, ...]
    dead: Sequence[Found]
    replays: Sequence[Found]
    replay_due_ms: int | None
    """Time of the next attempt of a replay, Unix milliseconds."""
    is_whole: bool
    """False if there was no time to read all of it."""

    @property
    def entries(self) -> list[Found]:
        """The entries that have all of the event."""
        return [*self.dead, *self.replays]


class LaneReader:
    """Reads what lanes have of an event."""

    def __init__(self, redis: Redis, event: EventView, budget: Budget) -> None:
        self._redis = redis
        self._event = event
        self._budget = budget
        began = min((place.at_ms for place in event.places), default=event.at_ms)
        self._since = f"{max(began - SKEW_MS, 0)}-0"

    async def readings(self, lanes: Sequence[tuple[str, Place]]) -> dict[str, Reading]:
        """Return the immediate state of lanes, each with the event's place in its topic."""
        topics = {place.topic for _, place in lanes}
        positions = {topic: await positions_in(self._redis, topic) for topic in topics}
        found: dict[str, Reading] = {}
        for page in pages(lanes, _LANES):
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, place in page:
                    self._ask(pipe, name, place)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            for (name, place), row in zip(page, zip(*(iter(replies),) * 3, strict=True), strict=True):
                pending, due, blocked = (_usable(reply) for reply in row)
                position = positions[place.topic].get(keys.push_group(name), "")
                due_ms = None if due is None else round(due)
                found[name] = Reading(position, bool(pending), due_ms, blocked)
        return found

    def _ask(self, pipe: Any, name: str, place: Place) -> None:
        key, stream = self._redis.key, self._redis.key.topic(place.topic)
        pipe.xpending_range(stream, keys.push_group(name), place.entry, place.entry, 1)
        pipe.zscore(key.lane(name, "retries"), str(Ref(stream, place.entry)))
        pipe.hget(key.lane(name, "blocked"), self._event.chat or "")

    async def logs(self, lanes: Sequence[str]) -> dict[str, Logs]:
        """Return the traces of the event in the streams of lanes."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def in_lane(name: str) -> Logs:
            async with slots:
                return await self._logs_of(name)

        return dict(zip(lanes, await asyncio.gather(*map(in_lane, lanes)), strict=True))

    async def _logs_of(self, name: str) -> Logs:
        of_event = Condition("id", Kind.IS, self._event.id)
        attempts, all_attempts = await self._search(name, "attempts", condition_on(self._event.id))
        dead, all_dead = await self._search(name, "dead", of_event)
        replays, all_replays = await self._search(name, "replay", of_event)
        found = await self._attempts(name, attempts)
        due = await self._due(name, replays)
        return Logs(found, dead, replays, due, is_whole=all_attempts and all_dead and all_replays)

    async def _due(self, name: str, replays: Sequence[Found]) -> int | None:
        """Return the time of the next attempt of a replay; None if none waits for a retry."""
        if not replays:
            return None
        stream = self._redis.key.lane(name, "replay")
        members = [str(Ref(stream, replay.entry)) for replay in replays]
        due = await self._redis.zmscore(self._redis.key.lane(name, "retries"), members)
        return min((round(score) for score in due if score is not None), default=None)

    async def _search(self, name: str, part: str, condition: Condition) -> tuple[list[Found], bool]:
        """Return what meets a condition in a stream of a lane, and whether all of the stream was read."""
        stream = self._redis.key.lane(name, part)
        start, found, factor = self._since, list[Found](), SMALL if part == "attempts" else 1
        while True:
            if self._budget.is_over:
                return found, False
            try:
                read = await step(self._redis, stream, start, NEWEST, (condition,), backwards=False, factor=factor)
            except ResponseError:
                return found, False
            found += read.found
            if read.is_end or len(found) >= _MAX_ATTEMPTS:
                return found, read.is_end
            start = f"({read.last}"

    async def _attempts(self, name: str, found: Sequence[Found]) -> tuple[FoundAttempt, ...]:
        decoded: list[tuple[str, FoundAttempt]] = []
        for entry, fields in found:
            try:
                attempt = AttemptRecord.decode(fields.get(b"a", b""))
            except UnreadableAttempt:
                continue
            if is_of(attempt, self._event.id):
                decoded.append((entry, FoundAttempt(name, attempt, counted=b"moot" not in fields, detail="")))
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry, _ in decoded:
                pipe.xrange(self._redis.key.lane(name, "answers"), entry, entry)
            answers: list[Any] = await pipe.execute(raise_on_error=False) if decoded else []
        return tuple(
            replace(attempt, detail=_answer(answer)) for (_, attempt), answer in zip(decoded, answers, strict=True)
        )


def _answer(reply: Any) -> str:
    if isinstance(reply, Exception) or not reply:
        return ""
    return str(reply[0][1].get(b"a", b"").decode(errors="ignore"))


def _usable(reply: Any) -> Any:
    if isinstance(reply, ResponseError) and not is_missing_group(reply) and not is_wrong_type(reply):
        raise reply
    return None if isinstance(reply, Exception) else reply


async def positions_in(redis: Redis, topic: str) -> dict[str, str]:
    """Return the last entry that each consumer group of a topic has read."""
    try:
        rows = await redis.xinfo_groups(redis.key.topic(topic))
    except ResponseError:
        return {}
    return {row["name"].decode(errors="replace"): row["last-delivered-id"].decode() for row in rows}
