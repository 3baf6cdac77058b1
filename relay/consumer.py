"""Reading a topic: a typed iterator over a consumer group of its Redis stream, for teams that pull.

    async with consume("redis://localhost", topic="support", group="billing") as events:
        async for event in events:
            print(event.type, event.line, event.json()["data"])

Every group gets every event of its topic; the members of one group share them. An event is acknowledged when the loop
comes back for the next one, so a handler that raises, or a process that dies, gets the event again: handle events by
their `id` so that twice is like once. What a dead member left is taken over by the others once it has been still for
`claim_after` seconds, which therefore has to be longer than a handler takes for one event. Redis may go away and come
back at any time.
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
_ACK_EVERY = 1.0  # seconds at most from the end of a handler to its acknowledgement, while the loop turns


def consume(
    url: str, *, topic: str, group: str, member: str | None = None, start: str = "0", claim_after: float = 300.0
) -> Consumer:
    """The events of `topic` for `group`, from the Redis at `url`; to be entered with `async with`.

    `member` names this consumer within the group (default: host and process id, so give two in one process a name
    each). `start` is where the group begins when it is new: `0` is the oldest event that is kept, `$` the next one, or
    a stream id or Unix milliseconds. `claim_after` is in seconds.

    Raises:
        ValueError: `group` is a name that the relay keeps for itself (`push:...`).
    """
    return Consumer(url, topic, group, member or f"{socket.gethostname()}-{os.getpid()}", start, claim_after)


class Consumer:
    """An async iterator over `Record`s."""

    def __init__(self, url: str, topic: str, group: str, member: str, start: str, claim_after: float) -> None:
        if group.startswith(keys.PUSH_GROUP_PREFIX):
            raise ValueError(
                f'the group "{group}" would be the relay\'s own; choose a name without "{keys.PUSH_GROUP_PREFIX}"'
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
        """Acknowledges the event in hand if its handler did not raise, and leaves the group if nothing is owed."""
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
            pass  # what is not acknowledged comes again
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
            await retry_until_redis_answers("keeping events", self._keep)
            self._claimed_at = loop.time()
        while not self._read:
            await self._fill()
        self._current = self._read.popleft()
        return self._current

    async def _fill(self) -> None:
        """Reads what is next: what this member left pending, what a dead one did, what is new."""
        loop = asyncio.get_running_loop()
        if self._may_be_pending:
            rows = await self._reading("0", block_ms=None)
            self._may_be_pending = bool(rows)
        elif loop.time() - self._claimed_at > self._claim_after / 3:
            rows = await retry_until_redis_answers(
                "taking over events", lambda: self._healed(self._claim), self._resync
            )
            self._claimed_at = loop.time()
        else:
            rows = await self._reading(">", block_ms=_BLOCK_MS)
        for entry, fields in rows:
            if fields:
                self._read.append(record_of(entry, fields))
            else:  # trimmed while it was pending
                self._handled.append(entry.decode())

    async def _reading(self, cursor: str, block_ms: int | None) -> list[Row]:
        async def read() -> list[Row]:
            answer = await self._redis.xreadgroup(
                self._group, self._member, {self._stream: cursor}, count=100, block=block_ms
            )
            return list(answer[0][1]) if answer else []

        return await retry_until_redis_answers("reading a topic", lambda: self._healed(read), self._resync)

    def _resync(self) -> None:
        """An answer that was lost may have made events pending that we have not seen."""
        self._may_be_pending = not self._read

    async def _claim(self) -> list[Row]:
        """Events that another member has held for too long."""
        answer = await self._redis.xautoclaim(
            self._stream, self._group, self._member, min_idle_time=round(self._claim_after * 1000), count=100
        )
        return list(answer[1])

    async def _keep(self) -> None:
        """Tells Redis that what we hold is not stale: events wait here behind a slow handler."""
        entries: Any = [record.entry for record in self._read]
        await self._redis.xclaim(self._stream, self._group, self._member, 0, entries, justid=True)

    async def _acknowledge(self) -> None:
        if self._handled:
            await self._redis.xack(self._stream, self._group, *self._handled)
            self._handled.clear()

    async def _healed(self, attempt: Callable[[], Awaitable[list[Row]]]) -> list[Row]:
        """`attempt`, with the group made again if it has gone."""
        try:
            return await attempt()
        except ResponseError as error:
            if not is_missing_group(error):
                raise
        await self._ensure_group()
        return []

    async def _ensure_group(self) -> None:
        await ensure_group(self._redis, self._stream, self._group, self._start)
