"""Reading of what the lanes of push subscriptions have of an event.

A lane has its share of an event on the event's shard: attempts, the dead letter, replays. Of an event that no topic
holds the shard is not known, so all of them are read.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.streams import SKEW_MS, order_of, pages
from relay.store.lanes.attempts.log import FoundAttempt
from relay.store.lanes.attempts.record import AttemptRecord, UnreadableAttempt, condition_on, is_of
from relay.store.lanes.delivery import Ref
from relay.store.lanes.many.event_states import event_states
from relay.store.sharding.places import entry_name
from relay.store.topics.stream_search import NEWEST, SMALL, Condition, Found, Kind, Step, step, steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.services.topics.history.scan import Budget
    from relay.services.topics.history.view import EventView, Place
    from relay.store.driver.client import Redis

_MAX_ATTEMPTS = 200  # of an event at one subscription
_STREAMS = 200  # searched in one round trip, if they are short: it blocks Redis for about 2 ms
_ANSWERS = 100  # read in one round trip
_APART_MS = 5  # Redis 7.0 gives the entries of one step the times at which it makes them
_PAGES_OF_A_MOMENT = 20  # of dead letters
_AT_ONCE = 8  # long streams that are searched at the same time


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


class _Trace(NamedTuple):
    """Findings in a stream."""

    found: Sequence[Found]
    resume: str = ""
    """The place where to read on; empty if there is nothing more, or it cannot be read."""
    is_whole: bool = False
    """True if all of it was read."""


_NOT_READ = _Trace(())


class LaneReader:
    """Reads what lanes have of an event."""

    def __init__(self, redis: Redis, event: EventView, budget: Budget) -> None:
        """`redis` is the client of the first shard."""
        self._shards = redis.shards
        self._event = event
        numbers = {place.shard for place in event.places} or range(len(redis.shards))
        self._parts = [_ShardReader(redis, number, event, budget) for number in sorted(numbers)]

    async def readings(self, lanes: Sequence[tuple[str, Place]]) -> dict[str, Reading]:
        """Return the immediate state of lanes, each with the event's place in its topic."""
        by_place: dict[Place, list[str]] = {}
        for name, place in lanes:
            by_place.setdefault(place, []).append(name)
        found: dict[str, Reading] = {}
        for place, names in by_place.items():
            redis = self._shards[place.shard]
            states = await event_states(redis, redis.key.topic(place.topic), place.id, self._event.chat, names)
            positions = await positions_in(redis, place.topic)
            for name, state in states.items():
                found[name] = Reading(positions.get(keys.push_group(name), ""), *state)
        return found

    async def logs(self, lanes: Sequence[str]) -> dict[str, Logs]:
        """Return the traces of the event in the streams of lanes."""
        parts = await asyncio.gather(*(part.logs(lanes) for part in self._parts))
        return parts[0] if len(parts) == 1 else {name: _joined([part[name] for part in parts]) for name in lanes}


class _ShardReader:
    """Reads what the streams of lanes have of an event on one shard."""

    def __init__(self, home: Redis, number: int, event: EventView, budget: Budget) -> None:
        self._redis = home.shards[number]
        self._number = number
        self._event = event
        self._budget = budget
        began = min((place.at_ms for place in event.places), default=event.at_ms)
        self._since = f"{max(began - SKEW_MS, 0)}-0"

    async def logs(self, lanes: Sequence[str]) -> dict[str, Logs]:
        """Return the traces of the event in the streams of lanes."""
        of_event, lane = Condition("id", Kind.IS, self._event.id), self._redis.key.lane
        attempts = await self._search([lane(name, "attempts") for name in lanes], condition_on(self._event.id), SMALL)
        decoded = {name: self._decoded(name, attempts[lane(name, "attempts")].found) for name in lanes}
        entries = await self._letters(decoded, of_event)
        unread = [lane(name, part) for name in lanes for part in ("dead", "replay")]
        entries |= await self._search([stream for stream in unread if stream not in entries], of_event, 1)
        answers = await self._answers([(name, entry) for name, found in decoded.items() for entry, _ in found])
        logs = {}
        for name in lanes:
            traces = [attempts[lane(name, "attempts")], *(entries[lane(name, part)] for part in ("dead", "replay"))]
            _, dead, replays = traces
            logs[name] = Logs(
                attempts=tuple(replace(found, detail=answers[name, entry]) for entry, found in decoded[name]),
                dead=[Found(entry_name(entry, self._number), fields) for entry, fields in dead.found],
                replays=replays.found,
                replay_due_ms=await self._due(name, replays.found),
                is_whole=all(trace.is_whole for trace in traces),
            )
        return logs

    async def _letters(
        self, attempts: Mapping[str, Sequence[tuple[str, FoundAttempt]]], of_event: Condition
    ) -> dict[str, _Trace]:
        """Return the dead letters that lanes' last deadly attempts have left, by stream, as far as they are kept.

        Such an attempt and its letter are stored in one step, so the letter is found without the search of all younger
        ones. A letter that no attempt has left (its delivery has expired) is not among them, nor one that was replayed.
        """
        slots, found = asyncio.Semaphore(_AT_ONCE), dict[str, _Trace]()

        async def look(name: str, entry: str) -> None:
            stream, at_ms = self._redis.key.lane(name, "dead"), order_of(entry)[0]
            start, end = f"{max(at_ms - _APART_MS, 0)}-0", str(at_ms + _APART_MS)
            async with slots:
                for _ in range(_PAGES_OF_A_MOMENT):
                    try:
                        read = await step(self._redis, stream, start, end, (of_event,), backwards=False)
                    except ResponseError:
                        return
                    if read.found:
                        found[stream] = _Trace(read.found, is_whole=True)
                    if read.found or read.is_end:
                        return
                    start = f"({read.last}"

        deadly = {
            name: [entry for entry, each in of_lane if each.counted and each.attempt.dead]
            for name, of_lane in attempts.items()
        }
        await asyncio.gather(*(look(name, entries[-1]) for name, entries in deadly.items() if entries))
        return found

    async def _due(self, name: str, replays: Sequence[Found]) -> int | None:
        """Return the time of the next attempt of a replay; None if none waits for a retry."""
        if not replays:
            return None
        stream = self._redis.key.lane(name, "replay")
        members = [str(Ref(stream, replay.entry)) for replay in replays]
        due = await self._redis.zmscore(self._redis.key.lane(name, "retries"), members)
        return min((round(score) for score in due if score is not None), default=None)

    async def _search(self, streams: Sequence[str], condition: Condition, factor: int) -> dict[str, _Trace]:
        """Return the matching entries of each stream: of many short streams at once, then the rest of the long ones."""
        traces: dict[str, _Trace] = {}
        left = list(streams)
        while left and not self._budget.is_over:
            read = await steps(self._redis, left[:_STREAMS], self._since, (condition,), factor=factor)
            traces |= {stream: _trace(first) for stream, first in read.items()}
            left = left[len(read) :]
        traces |= dict.fromkeys(left, _NOT_READ)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def finish(stream: str, begun: _Trace) -> _Trace:
            async with slots:
                return await self._finished(stream, begun, condition, factor)

        unfinished = {stream: trace for stream, trace in traces.items() if trace.resume}
        finished = await asyncio.gather(*(finish(stream, trace) for stream, trace in unfinished.items()))
        return traces | dict(zip(unfinished, finished, strict=True))

    async def _finished(self, stream: str, trace: _Trace, condition: Condition, factor: int) -> _Trace:
        """Read on in a stream, until its end or as long as there is time."""
        while trace.resume and len(trace.found) < _MAX_ATTEMPTS and not self._budget.is_over:
            try:
                read = await step(
                    self._redis, stream, trace.resume, NEWEST, (condition,), backwards=False, factor=factor
                )
            except ResponseError:
                return _Trace(trace.found)
            trace = _trace(read, trace.found)
        return trace

    def _decoded(self, name: str, found: Sequence[Found]) -> list[tuple[str, FoundAttempt]]:
        decoded = []
        for entry, fields in found:
            try:
                attempt = AttemptRecord.decode(fields.get(b"a", b""))
            except UnreadableAttempt:
                continue
            if is_of(attempt, self._event.id):
                found_one = FoundAttempt(name, attempt, counted=b"moot" not in fields, detail="")
                decoded.append((entry, found_one.on(self._number)))
        return decoded

    async def _answers(self, attempts: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return the answer to each attempt of a lane, by lane and entry."""
        answers: dict[tuple[str, str], str] = {}
        for page in pages(attempts, _ANSWERS):
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, entry in page:
                    pipe.xrange(self._redis.key.lane(name, "answers"), entry, entry)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            answers |= {attempt: _answer(reply) for attempt, reply in zip(page, replies, strict=True)}
        return answers


def _joined(logs: Sequence[Logs]) -> Logs:
    """Return the traces on several shards as one."""
    dues = [each.replay_due_ms for each in logs if each.replay_due_ms is not None]
    return Logs(
        attempts=tuple(
            sorted((found for each in logs for found in each.attempts), key=lambda found: found.attempt.at_ms)
        ),
        dead=[found for each in logs for found in each.dead],
        replays=[found for each in logs for found in each.replays],
        replay_due_ms=min(dues, default=None),
        is_whole=all(each.is_whole for each in logs),
    )


def _trace(read: Step | None, before: Sequence[Found] = ()) -> _Trace:
    """Return the trace in a stream after a step; before it, `before` was found."""
    if read is None:
        return _Trace(before)
    found = [*before, *read.found]
    return _Trace(found, is_whole=True) if read.is_end else _Trace(found, resume=f"({read.last}")


def _answer(reply: Any) -> str:
    if isinstance(reply, Exception) or not reply:
        return ""
    return str(reply[0][1].get(b"a", b"").decode(errors="ignore"))


async def positions_in(redis: Redis, topic: str) -> dict[str, str]:
    """Return the last entry that each consumer group of a topic has read."""
    try:
        rows = await redis.xinfo_groups(redis.key.topic(topic))
    except ResponseError:
        return {}
    return {row["name"].decode(errors="replace"): row["last-delivered-id"].decode() for row in rows}
