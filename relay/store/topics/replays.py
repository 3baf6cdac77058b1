"""Replays: a topic's history that is sent to a push subscription again, in steps that survive restarts.

    running  ->  done         its span is complete
             ->  cancelled    an operator has cancelled it
             ->  failed       its subscription no longer exists, or a bug of ours

A replay is a record in Redis with a cursor, which moves in the same step that gives the lane its events: a worker can
die at any moment, and the next one resumes at the cursor (`workers.maintenance.replayer`). The lane
delivers these events like any others, with `Relay-Replay` and attempts of their own.

With several shards, a replay is a record on each that has events of it (`whole.replays`); here it is that of one shard.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from relay.core.event_filter import EventFilter
from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.isolation import Isolation
from relay.store.topics.history import Span
from relay.store.topics.whole import replay_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis
    from relay.store.topics.history import Survey
    from relay.store.topics.whole.replay_parts import Part

MAX_RUNNING = 20
"""Maximum number of running replays."""
MAX_REMEMBERED = 100
"""Number of replays that are listed at least a week after their end."""

log = structlog.get_logger()

_REMEMBERED_MS = 7 * 24 * 3600 * 1000

_advance, _end = Script(__package__, "replay_advance"), Script(__package__, "replay_end")


class State(StrEnum):
    """The state of a replay."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Order:
    """A request for a replay."""

    topic: str
    to: str
    """The subscription."""
    event_filter: EventFilter
    rate: float
    """Events a second, at most."""
    by: str
    """The requester."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay and its progress."""

    id: str
    order: Order
    span: Span
    events: int
    """The number of events in the span at the start."""
    matching: int
    """The number of events that matched."""
    cursor: str
    """The last processed entry."""
    seen: int
    """The number of entries that were processed."""
    sent: int
    """The number of events that the lane got."""
    state: State
    reason: str
    """The reason for its end; empty for none."""
    started_ms: int
    """Unix milliseconds."""
    ended_ms: int | None
    parts: tuple[Part, ...] = ()
    """The parts on other shards, of the record on the first one."""

    @property
    def rate(self) -> float:
        """Events a second, at most, of those on this shard."""
        return self.rate_of(self.matching)

    def rate_of(self, matching: int) -> float:
        """Return the share of the rate for as many of the matching events."""
        if not self.parts:
            return self.order.rate
        total = self.matching + sum(part.matching for part in self.parts)
        return self.order.rate * max(matching, 1) / max(total, 1)

    @property
    def is_complete(self) -> bool:
        """True if its span is complete."""
        return self.cursor == self.span.end

    @property
    def missed(self) -> int:
        """The number of events that were trimmed before their turn; 0 until the replay is complete."""
        return self.events - self.seen if self.is_complete else 0


class Replays:
    """The running replays, and those that ended in the last week."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = redis.key
        self._isolation = Isolation(redis)

    async def start(self, order: Order, survey: Survey, now_ms: int, parts: tuple[Part, ...] = ()) -> Replay:
        """Start a replay of the surveyed span; `parts` are those on other shards."""
        replay = Replay(
            id=secrets.token_hex(4),
            order=order,
            span=survey.span,
            events=survey.events,
            matching=survey.matching,
            cursor=survey.span.after,
            seen=0,
            sent=0,
            state=State.RUNNING,
            reason="",
            started_ms=now_ms,
            ended_ms=None,
            parts=parts,
        )
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._key.replay(replay.id), mapping=fields_of(replay))
            pipe.sadd(self._key.replays_running, replay.id)
            pipe.zadd(self._key.replays, {replay.id: now_ms})
            pipe.zremrangebyrank(self._key.replays, 0, -MAX_REMEMBERED - 1)
            await pipe.execute()
        await wakeups.wake(self._redis, wakeups.replay(self._key))
        return replay

    async def get(self, replay_id: str) -> Replay | None:
        """Return the replay; None if it does not exist."""
        fields = await self._fields_of(replay_id)
        return _replay(replay_id, fields) if fields else None

    async def of(self, ids: Sequence[str]) -> list[Replay]:
        """Return the replays with these ids, without those that do not exist or cannot be read."""
        return (await self._find(ids))[0]

    async def running(self) -> list[Replay]:
        """Return the running replays, the oldest first."""
        found, lost = await self._find(await self._running_ids())
        if lost:
            log.error("replay.state_lost", deleted=[self._key.replay(replay_id) for replay_id in lost])
            await ask(self._redis.srem(self._key.replays_running, *lost))
        return sorted(found, key=lambda replay: (replay.started_ms, replay.id))

    async def _running_ids(self) -> list[str]:
        return [row.decode() for row in await ask(self._redis.smembers(self._key.replays_running))]

    async def _find(self, ids: Sequence[str]) -> tuple[list[Replay], list[str]]:
        """Return the replays of `ids`, and the ids that no longer exist; one that cannot be read is in neither."""
        found: list[Replay] = []
        lost: list[str] = []
        for replay_id in ids:
            types = {self._key.replay(replay_id): "hash"}
            fields = await self._isolation.contain("replay", replay_id, self._fields_of(replay_id), types)
            if fields == {}:
                lost.append(replay_id)
            elif fields and (replay := await self._isolation.contain("replay", replay_id, _read(replay_id, fields))):
                found.append(replay)
        return found, lost

    async def _fields_of(self, replay_id: str) -> dict[bytes, bytes]:
        return await ask(self._redis.hgetall(self._key.replay(replay_id)))

    async def are_running(self) -> bool:
        """Return True if a replay is running; if the set of them was deleted, find them among the remembered ones."""
        if await ask(self._redis.scard(self._key.replays_running)):
            return True
        ids = await self._redis.zrange(self._key.replays, 0, -1)
        async with self._redis.pipeline(transaction=False) as pipe:
            for replay_id in ids:
                pipe.hget(self._key.replay(replay_id.decode()), "state")
            states = await pipe.execute()
        running = [replay_id for replay_id, state in zip(ids, states, strict=True) if state == State.RUNNING.encode()]
        if running:
            log.error("replay.state_lost", deleted=self._key.replays_running, running=len(running))
            await ask(self._redis.sadd(self._key.replays_running, *running))
        return bool(running)

    async def all(self) -> list[Replay]:
        """Return the running and the remembered replays, the oldest first."""
        found, _ = await self._find([row.decode() for row in await self._redis.zrange(self._key.replays, 0, -1)])
        running, _ = await self._find(await self._running_ids())
        replays = {replay.id: replay for replay in (*found, *running)}
        return sorted(replays.values(), key=lambda replay: (replay.started_ms, replay.id))

    async def advance(self, replay: Replay, cursor: str, seen: int, entries: Sequence[str], now_ms: int) -> int:
        """Append `entries`, out of the `seen` ones up to `cursor`, to the lane; return the number appended.

        Idempotent: without effect if the stored cursor differs from that of `replay`, since a reply may have been lost.
        """
        order = replay.order
        partition = wakeups.partition_of(order.to)
        wakeup = wakeups.deliver(self._key, partition)
        arguments: list[str | bytes | int] = [replay.cursor, cursor, seen, order.topic, order.to, now_ms]
        arguments += (wakeup.job_id, wakeup.payload, wakeups.LIFETIME_MS, *entries)
        sent: int = await _advance(
            self._redis,
            [
                self._key.replay(replay.id),
                self._key.topic(order.topic),
                self._key.lane(order.to),
                self._key.ready(partition),
                wakeup.queue,
            ],
            arguments,
        )
        return max(sent, 0)

    async def end(self, replay_id: str, state: State, reason: str, now_ms: int) -> bool:
        """End a replay; return False if it has ended before, or does not exist."""
        redis_keys = [self._key.replay(replay_id), self._key.replays_running]
        ended: int = await _end(self._redis, redis_keys, [replay_id, state, reason, now_ms, _REMEMBERED_MS])
        return ended == 1


def fields_of(replay: Replay) -> dict[str | bytes, str | int | float | bytes]:
    """Return the record of a replay that begins."""
    order = replay.order
    return {
        "topic": order.topic,
        "to": order.to,
        "type": order.event_filter.event_type or "",
        "line": order.event_filter.line or "",
        "rate": order.rate,
        "by": order.by,
        "after": replay.span.after,
        "end": replay.span.end,
        "events": replay.events,
        "matching": replay.matching,
        "cursor": replay.cursor,
        "state": replay.state,
        "started": replay.started_ms,
        **replay_parts.fields_of(replay.parts),
    }


async def _read(replay_id: str, fields: dict[bytes, bytes]) -> Replay:
    return _replay(replay_id, fields)


def _replay(replay_id: str, fields: dict[bytes, bytes]) -> Replay:
    def text(name: str) -> str:
        return fields.get(name.encode(), b"").decode()

    return Replay(
        id=replay_id,
        order=Order(
            topic=text("topic"),
            to=text("to"),
            event_filter=EventFilter(text("type") or None, text("line") or None),
            rate=float(text("rate")),
            by=text("by"),
        ),
        span=Span(text("after"), text("end")),
        events=int(text("events")),
        matching=int(text("matching")),
        cursor=text("cursor"),
        seen=int(text("seen") or 0),
        sent=int(text("sent") or 0),
        state=State(text("state")),
        reason=text("reason"),
        started_ms=int(text("started")),
        ended_ms=int(text("ended")) if text("ended") else None,
        parts=replay_parts.parts_in(fields),
    )
