"""The record of a walk through Linq's chats: its span, its progress and its findings.

A walk saves after every page of chats, so that one that was killed continues where it was: the chats that are done are
not read again. What it found of a chat and that the chat is done are written in one step; a chat that was put back and
not noted as done is read again, and its messages are known by then (`store.gaps.backfilled`).

The record is on the first shard. Each shard counts what was put back there, in the step that does it.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis

_LIFE = 86400  # seconds after the last save
_PART = 1000
LIFE_MS = 7 * _LIFE * 1000
"""Life of the record, and of the counts on other shards."""
RUNS = "runs:{mode}:{state}"
"""Field of `relay:gaps` with the number of walks that ended like this."""


class Mode(StrEnum):
    """The purpose of a walk."""

    LOOK = "look"
    FILL = "fill"


class WalkState(StrEnum):
    """The state of a walk."""

    WALKING = "walking"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class LineFindings:
    """Findings on a line."""

    chats: int = 0
    messages: int = 0
    """Messages of the span, and of types that a topic takes."""
    missing: int = 0
    """Number of them without an accepted event."""
    untaken: int = 0
    """Missing ones that no topic takes as history; they stay where they are."""
    first_ms: int | None = None
    """Time of the oldest missing message, Unix milliseconds, and of the newest."""
    last_ms: int | None = None


@dataclass(slots=True)
class Walk:
    """A walk."""

    id: str
    mode: Mode
    since_ms: int
    until_ms: int
    lines: list[str]
    started_ms: int
    account: str | None = None
    """The account of `[[linq.accounts]]`."""
    all_lines: bool = True
    """False if some lines were asked for, not all that are registered."""
    state: WalkState = WalkState.WALKING
    at_ms: int = 0
    """Time of the last save."""
    asked_since_ms: int | None = None
    """The beginning that was asked for, where the index begins later."""
    calls: int = 0
    put: int = 0
    """Messages that were put back; counted by the script that does it."""
    before: int = 0
    """Messages that an earlier backfill had put back."""
    meanwhile: int = 0
    """Messages whose event came while the walk was on its way."""
    gone: int = 0
    """Chats that were listed and do not exist."""
    left_before: int = 0
    """Number of messages that the walk before it left."""
    unreadable: int = 0
    """Missing messages of which no event can be made."""
    error: str = ""
    findings: dict[str, LineFindings] = field(default_factory=dict)
    chats_with_gaps: dict[str, str] = field(default_factory=dict)
    """Line of each chat in which a message is missing."""

    @property
    def missing(self) -> int:
        """Number of missing messages."""
        return sum(each.missing for each in self.findings.values())

    @property
    def untaken(self) -> int:
        """Number of missing messages that no topic takes as history."""
        return sum(each.untaken for each in self.findings.values())

    @property
    def left(self) -> int:
        """Number of messages that a topic takes, and that were neither put back nor came since.

        Until it is done, those that the walk before it left count: it may not have got there yet.
        """
        found = max(self.missing - self.untaken - self.put - self.before - self.meanwhile, 0)
        return found if self.state is WalkState.DONE else max(found, self.left_before - self.put)

    @property
    def messages(self) -> int:
        """Number of messages that were compared."""
        return sum(each.messages for each in self.findings.values())

    @property
    def chats(self) -> int:
        """Number of chats that were read."""
        return sum(each.chats for each in self.findings.values())


_WALK = TypeAdapter(Walk)


class WalkRecord:
    """The record of the last walk of an account."""

    def __init__(self, redis: Redis, account: str | None = None) -> None:
        """`account` is one of `[[linq.accounts]]`; None is that of LINQ_API_V3_API_KEY."""
        self._redis, self._account = redis, account
        self._key, self._done = redis.key.walk(account=account), redis.key.walk("done", account)

    async def read(self) -> Walk | None:
        """Return the last walk; None without one, or if it is not readable."""
        fields = await ask(self._redis.hmget(self._key, ["walk", "put"]))
        text, *puts = fields
        if text is None:
            return None
        try:
            walk = _WALK.validate_json(text)
        except ValidationError:
            return None
        puts += await asyncio.gather(*(ask(shard.hget(self._key_on(shard), "put")) for shard in self._redis.others))
        walk.put = sum(int(put or 0) for put in puts)
        return walk

    async def begin(self, walk: Walk) -> None:
        """Replace the record by that of a new walk."""
        for shard in self._redis.others:
            await ask(shard.unlink(self._key_on(shard)))
        async with self._redis.pipeline() as pipe:
            pipe.unlink(self._key, self._done)
            self._save(pipe, walk)
            await pipe.execute()

    async def done(self, chats: list[str]) -> set[str]:
        """Return those of the chats that are done."""
        if not chats:
            return set()
        async with self._redis.pipeline(transaction=False) as pipe:
            for chat in chats:
                pipe.sismember(self._done, chat)
            found = await pipe.execute()
        return {chat for chat, is_done in zip(chats, found, strict=True) if is_done}

    async def save(self, walk: Walk, chats: Iterable[str] = ()) -> bool:
        """Save the progress of a walk, and that chats are done; returns False if another walk has begun meanwhile."""
        runner: Any = await ask(self._redis.hget(self._key, "id"))
        if runner != walk.id.encode():
            return False
        names = list(chats)
        async with self._redis.pipeline() as pipe:
            self._save(pipe, walk)
            for at in range(0, len(names), _PART):
                pipe.sadd(self._done, *names[at : at + _PART])
            if names:
                pipe.expire(self._done, _LIFE)
            if walk.state is WalkState.DONE:
                pipe.unlink(self._done)
            if walk.state is not WalkState.WALKING:
                pipe.hincrby(self._redis.key.gaps, RUNS.format(mode=walk.mode, state=walk.state), 1)
            await pipe.execute()
        return True

    def _key_on(self, shard: Redis) -> str:
        return shard.key.walk(account=self._account)

    def _save(self, pipe: Any, walk: Walk) -> None:
        pipe.hset(self._key, mapping={"id": walk.id, "walk": _WALK.dump_json(walk)})
        pipe.expire(self._key, 7 * _LIFE)


def summary(walk: Walk) -> dict[str, Any]:
    """Return a walk as JSON."""
    return {**asdict(walk), "missing": walk.missing, "untaken": walk.untaken, "messages": walk.messages}
