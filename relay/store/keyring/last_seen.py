"""The last verified event of each line, and the generation of its secret: for `relay bootstrap status` and its checks.

Whether a line is silent is judged by its own rhythm (`lines.rhythm`), or by `[linq] silent_after` while too little is
known of it.

Every ingress process records them in memory and writes them every few seconds, apart from acceptance; a killed process
loses only the last seconds.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from relay.core.event import ACCOUNT, owner_of
from relay.core.lines import is_line
from relay.process.tasks import end_task
from relay.store.driver.client import REDIS_ERRORS, ask
from relay.store.lines.activity import read_activity
from relay.store.lines.rhythm import Activity, is_silent

if TYPE_CHECKING:
    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis

_NONE = Activity()
_INTERVAL = 5.0  # seconds between two writes


@dataclass(frozen=True, slots=True)
class LastEvent:
    """The last verified event of a Linq subscription."""

    at_ms: int
    """Unix milliseconds."""
    generation: int
    """The generation whose secret verified it."""
    activity: Activity = field(default_factory=Activity, compare=False, repr=False)
    """Its events by hour, if it is one of a line."""

    def is_silent(self, owner: str, now: float, silent_after: float) -> bool:
        """Return True if `owner` had no event for too long; seconds. Events of the account are too rare to tell."""
        if owner == ACCOUNT:
            return False
        judgement = is_silent(self.activity, self.at_ms, now * 1000)
        return now - self.at_ms / 1000 > silent_after if judgement is None else judgement

    def has_rhythm(self, now_ms: float) -> bool:
        """Return True if enough is known of the line to judge it by its usual week."""
        return is_silent(self.activity, self.at_ms, now_ms) is not None


class LastSeen:
    """The last event of each line, written to Redis while the context is open."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._unwritten: dict[str, tuple[float, int]] = {}
        self.latest = 0.0
        """The time of the last verified event of any line, Unix seconds."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_forever(), name="last seen")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        with suppress(*REDIS_ERRORS):
            await self._write()

    def record(self, webhook: VerifiedWebhook, now: float) -> None:
        """Record that `webhook` was verified; `now` is Unix seconds."""
        self._unwritten[owner_of(webhook.dialect, webhook.line)] = now, webhook.generation
        self.latest = now

    async def _write_forever(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            with suppress(*REDIS_ERRORS):
                await self._write()

    async def _write(self) -> None:
        if self._unwritten:
            written = dict(self._unwritten)
            rows = {owner: f"{round(now * 1000)} {generation}" for owner, (now, generation) in written.items()}
            await ask(self._redis.hset(self._redis.key.last_seen, mapping=rows))
            for owner, value in written.items():
                if self._unwritten[owner] == value:  # unless a newer event came meanwhile
                    del self._unwritten[owner]


async def last_events(redis: Redis) -> dict[str, LastEvent]:
    """Return the last event by the owner of the Linq subscription (`owner_of`)."""
    rows: dict[bytes, bytes] = await ask(redis.hgetall(redis.key.last_seen))
    times = {owner.decode(): value.split() for owner, value in rows.items()}
    activity = await read_activity(redis, [owner for owner in times if is_line(owner)], time.time() * 1000)
    return {
        owner: LastEvent(int(at_ms), int(generation), activity.get(owner, _NONE))
        for owner, (at_ms, generation) in times.items()
    }
