"""Reading a topic: a typed iterator over a consumer group of its Redis stream, for teams that pull.

    async with consume("redis://localhost", topic="support", group="billing") as events:
        async for event in events:
            print(event.type, event.line, event.json()["data"])

Every group gets every event of its topic; the members of one group share them. An event is acknowledged when the loop
asks for the next one, so it is delivered again if a handler raises or a process dies: make handlers idempotent, by the
event's `id`. Other members claim the pending events of a dead member after `claim_after` seconds, which must therefore
be longer than a handler takes for one event. Outages of Redis are retried.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.client import WORKER_TIMEOUT, RedisTrouble, open_redis, retry_until_redis_answers
from relay.store.driver.streams import ensure_group, is_missing_group
from relay.store.topics.record import Record, record_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Row = tuple[bytes, Mapping[bytes, bytes] | None]

__all__ = ["Consumer", "Record", "consume"]

_BLOCK_MS = 1000
_ACK_EVERY = 1.0  # maximum seconds from the end of a handler to its acknowledgement


def consume(
    url: str, *, topic: str, group: str, member: str | None = None, start: str = "0", claim_after: float = 300.0
) -> Consumer:
    """Return a consumer of `topic` in `group`, from the Redis at `url`; use it with `async with`.

    `member` names this consumer within the group (default: host and process id, so two consumers in one process need
    names). `start` is the position of a new group: `0` is the oldest kept event, `$` the next one, or a stream id or
    Unix milliseconds. `claim_after` is in seconds.

    Raises:
        ValueError: `group` is a name that is reserved for the relay (`push:...`).
    """
    return Consumer(url, topic, group, member or f"{socket.gethostname()}-{os.getpid()}", start, claim_after)


class Consumer:
    """An async iterator over `Record`s."""

    def __init__(self, url: str, topic: str, group: str, member: str, start: str, claim_after: float) -> None:
        if group.startswith(keys.PUSH_GROUP_PREFIX):
            raise ValueError(
                f'the group name "{group}" is reserved for the relay; choose a name without "{keys.PUSH_GROUP_PREFIX}"'
            )
        self._redis = open_redis(url, WORKER_TIMEOUT)
        self._stream = keys.topic(topic)
        self._group = group
        self._member = member
        self._start = start
        self._claim_after = claim_after
        self._read: deque[Record] = deque()
        self._handled: list[str] = []
        self._current: Record | None = None
        self._may_be_pending = True
        self._acked_at = self._claimed_at = 0.0

    async def __aenter__(self) -> Self:
        await retry_until_redis_answers("joining a group", self._ensure_group)
        return self

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Acknowledge the current event if its handler did not raise, and leave the group if no event is pending."""
        if error is None and self._current is not None:
            self._handled.append(self._current.entry)
        try:
            await self._acknowledge()
            pending = await self._redis.xpending_range(
                self._stream, self._group, "-", "+", 1, consumername=self._member
            )
            if not pending:
                await self._redis.xgroup_delconsumer(self._stream, self._group, self._member)
        except RedisTrouble:
            pass  # unacknowledged events are delivered again
        finally:
            await self._redis.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        loop = asyncio.get_running_loop()
        if self._current is not None:
            self._handled.append(self._current.entry)
            self._current = None
        if self._handled and (not self._read or loop.time() - self._acked_at > _ACK_EVERY):
            await retry_until_redis_answers("acknowledging", self._acknowledge)
            self._acked_at = loop.time()
        if self._read and loop.time() - self._claimed_at > self._claim_after / 3:
            await retry_until_redis_answers("renewing claims", self._renew_claims)
            self._claimed_at = loop.time()
        while not self._read:
            await self._fill()
        self._current = self._read.popleft()
        return self._current

    async def _fill(self) -> None:
        """Read the next events: this member's pending ones, those of dead members, new ones."""
        loop = asyncio.get_running_loop()
        if self._may_be_pending:
            rows = await self._read_group("0", block_ms=None)
            self._may_be_pending = bool(rows)
        elif loop.time() - self._claimed_at > self._claim_after / 3:
            rows = await retry_until_redis_answers(
                "claiming events", lambda: self._with_group(self._claim), self._resync
            )
            self._claimed_at = loop.time()
        else:
            rows = await self._read_group(">", block_ms=_BLOCK_MS)
        for entry, fields in rows:
            if fields:
                self._read.append(record_of(entry, fields))
            else:  # trimmed while it was pending
                self._handled.append(entry.decode())

    async def _read_group(self, cursor: str, block_ms: int | None) -> list[Row]:
        async def read() -> list[Row]:
            reply = await self._redis.xreadgroup(
                self._group, self._member, {self._stream: cursor}, count=100, block=block_ms
            )
            return list(reply[0][1]) if reply else []

        return await retry_until_redis_answers("reading a topic", lambda: self._with_group(read), self._resync)

    def _resync(self) -> None:
        """Read pending events again: a lost reply may have made some pending that we have not seen."""
        self._may_be_pending = not self._read

    async def _claim(self) -> list[Row]:
        """Claim the events that another member has had pending for too long."""
        reply = await self._redis.xautoclaim(
            self._stream, self._group, self._member, min_idle_time=round(self._claim_after * 1000), count=100
        )
        return list(reply[1])

    async def _renew_claims(self) -> None:
        """Reset the idle time of events that wait for a slow handler, so that no other member claims them."""
        entries: Any = [record.entry for record in self._read]
        await self._redis.xclaim(self._stream, self._group, self._member, 0, entries, justid=True)

    async def _acknowledge(self) -> None:
        if self._handled:
            await self._redis.xack(self._stream, self._group, *self._handled)
            self._handled.clear()

    async def _with_group(self, attempt: Callable[[], Awaitable[list[Row]]]) -> list[Row]:
        """Return the result of `attempt`; if the group is missing, create it again."""
        try:
            return await attempt()
        except ResponseError as error:
            if not is_missing_group(error):
                raise
        await self._ensure_group()
        return []

    async def _ensure_group(self) -> None:
        await ensure_group(self._redis, self._stream, self._group, self._start)
