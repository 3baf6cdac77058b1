"""Reading a topic: a typed iterator over a consumer group of its Redis stream, for teams that pull.

    async with consume("redis://localhost", topic="support", group="billing") as events:
        async for event in events:
            print(event.type, event.line, event.json()["data"])

Every group gets every event of its topic; the members of one group share them. An event is acknowledged when the loop
asks for the next one, so it is delivered again if a handler raises or a process dies: make handlers idempotent, by the
event's `id`. A member that leaves (its `async with` ends, also by an exception or a cancellation) hands its
unacknowledged events back, and the next member gets them within a second, before any newer one. A member that is killed
cannot: the others claim its events after `claim_after` seconds, which must therefore be longer than a handler takes for
one event; started again under the same name, it gets them at once. Outages of Redis are retried.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar

import structlog
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from relay.core.errors import StoreError
from relay.store import keys
from relay.store.driver.client import REDIS_ERRORS, WORKER_TIMEOUT, open_redis, retry_until_redis_answers
from relay.store.driver.streams import ensure_group, is_missing_group
from relay.store.isolation import WrongKey, is_wrong_type, repair_of
from relay.store.topics.pull.group import CLAIM_AFTER, LONG_IDLE_MS, RETURNED
from relay.store.topics.record import Record, record_of
from relay.store.topics.registry import UnknownTopic, find_topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from relay.store.driver.client import Redis

    Row = tuple[bytes, Mapping[bytes, bytes] | None]

__all__ = ["Consumer", "Record", "StoreError", "UnknownTopic", "consume"]

_RESERVED_MEMBERS = "relay:"
_BLOCK_MS = 1000
_RETURNED_EVERY = 1.0  # seconds between two looks for events that were handed back
_PAGE = 100
_TOPIC_GRACE = 10.0  # seconds that a topic may be unknown: the relay may be about to read a new relay.toml
_ACK_EVERY = 1.0  # maximum seconds from the end of a handler to its acknowledgement


Answer = TypeVar("Answer")

log = structlog.get_logger()


def consume(  # noqa: PLR0913  all but the first are keyword-only
    url: str,
    *,
    topic: str,
    group: str,
    member: str | None = None,
    start: str = "0",
    claim_after: float = CLAIM_AFTER,
    key_prefix: str = keys.DEFAULT_PREFIX,
) -> Consumer:
    """Return a consumer of `topic` in `group`, from the Redis at `url`; use it with `async with`.

    `member` names this consumer within the group (default: host and process id, so two consumers in one process need
    names). `start` is the position of a new group: `0` is the oldest kept event, `$` the next one, or a stream id or
    Unix milliseconds. `claim_after` is in seconds. `key_prefix` is the relay's RELAY_KEY_PREFIX, if it has one.

    Raises:
        ValueError: `group` or `member` is a name that is reserved for the relay (`push:...`, `relay:...`).
    """
    member = member or f"{socket.gethostname()}-{os.getpid()}"
    for kind, name, prefix in (("group", group, keys.PUSH_GROUP_PREFIX), ("member", member, _RESERVED_MEMBERS)):
        if name.startswith(prefix):
            text = f'the {kind} name "{name}" is reserved for the relay; choose a name without "{prefix}"'
            raise ValueError(text)
    return Consumer(open_redis(url, WORKER_TIMEOUT, key_prefix), topic, group, member, start, claim_after)


class Consumer:
    """An async iterator over `Record`s."""

    def __init__(self, redis: Redis, topic: str, group: str, member: str, start: str, claim_after: float) -> None:
        self._redis = redis
        self._topic = topic
        self._stream = redis.key.topic(topic)
        self._group = group
        self._member = member
        self._start = start
        self._claim_after = claim_after
        self._read: deque[Record] = deque()
        self._handled: list[str] = []
        self._current: Record | None = None
        self._may_be_pending = True
        self._is_topic_known = False
        self._acked_at = self._claimed_at = self._returned_at = 0.0

    async def __aenter__(self) -> Self:
        """Join the group.

        Raises:
            UnknownTopic: the relay has no such topic.
            StoreError: the topic's key is not a stream, or Redis refuses the credentials or a command.
        """
        try:
            await self._find_topic()
            await self._retry("joining a group", self._ensure_group)
        except BaseException:
            await self._redis.aclose()
            raise
        return self

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Acknowledge the current event if its handler did not raise, hand all others back, and leave the group."""
        if error is None and self._current is not None:
            self._handled.append(self._current.entry)
        try:
            await self._acknowledge()
            await self._hand_back()
            await self._redis.xgroup_delconsumer(self._stream, self._group, self._member)
        except REDIS_ERRORS:
            pass  # unacknowledged events are delivered again, after `claim_after`
        finally:
            await self._redis.aclose()

    async def _hand_back(self) -> None:
        """Give all pending events of this member to `RETURNED`, from where the next member takes them."""
        while entries := await self._pending_of(self._member):
            claimed = await self._redis.xclaim(
                self._stream, self._group, RETURNED, 0, entries, idle=LONG_IDLE_MS, justid=True
            )
            if gone := set(entries) - set(claimed):  # trimmed while they were pending
                await self._redis.xack(self._stream, self._group, *gone)

    async def _pending_of(self, member: str) -> list[Any]:
        rows = await self._redis.xpending_range(self._stream, self._group, "-", "+", _PAGE, consumername=member)
        return [row["message_id"] for row in rows]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        loop = asyncio.get_running_loop()
        if self._current is not None:
            self._handled.append(self._current.entry)
            self._current = None
        if self._handled and (not self._read or loop.time() - self._acked_at > _ACK_EVERY):
            await self._retry("acknowledging", self._acknowledge)
            self._acked_at = loop.time()
        if self._read and loop.time() - self._claimed_at > self._claim_after / 3:
            await self._retry("renewing claims", self._renew_claims)
            self._claimed_at = loop.time()
        while not self._read:
            await self._fill()
        self._current = self._read.popleft()
        return self._current

    async def _fill(self) -> None:
        """Read the next events: this member's pending ones, returned ones, those of dead members, new ones."""
        loop = asyncio.get_running_loop()
        if self._may_be_pending:
            rows = await self._read_group("0", block_ms=None)
            self._may_be_pending = bool(rows)
        elif loop.time() - self._returned_at > _RETURNED_EVERY:
            rows = await self._retry("taking returned events", lambda: self._with_group(self._take_returned))
            self._returned_at = 0.0 if rows else loop.time()
        elif loop.time() - self._claimed_at > self._claim_after / 3:
            rows = await self._retry("claiming events", lambda: self._with_group(self._claim))
            self._claimed_at = loop.time()
        else:
            rows = await self._read_group(">", block_ms=_BLOCK_MS)
            if not rows and not self._is_topic_known:
                await self._find_topic()
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

        return await self._retry("reading a topic", lambda: self._with_group(read))

    async def _retry(self, what: str, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Retry `attempt` while Redis is unavailable; raise what no retry can change."""

        async def attempt_or_refuse() -> Answer:
            try:
                return await attempt()
            except (AuthenticationError, NoPermissionError) as error:
                raise StoreError(f"Redis refuses this consumer: {error}") from error
            except ResponseError as error:
                if not is_wrong_type(error):
                    raise
                message = (
                    f"{self._stream} is not a stream: {repair_of([WrongKey(self._stream, 'another type', 'stream')])}"
                )
                raise StoreError(message) from error

        return await retry_until_redis_answers(what, attempt_or_refuse, self._resync)

    async def _find_topic(self) -> None:
        """Raise an error if the relay does not have the topic, even after a while; do nothing if no relay ran yet."""
        loop = asyncio.get_running_loop()
        began = None
        while True:
            try:
                self._is_topic_known = await self._retry("looking for a topic", self._look_for_topic)
            except UnknownTopic as error:
                if began is None:
                    began = loop.time()
                    log.warning("consumer.topic_unknown", error=str(error))
                if loop.time() - began >= _TOPIC_GRACE:
                    raise
                await asyncio.sleep(min(1.0, _TOPIC_GRACE))
            else:
                return

    async def _look_for_topic(self) -> bool:
        return await find_topic(self._redis, self._topic)

    def _resync(self) -> None:
        """Read pending events again: a lost reply may have made some pending that we have not seen."""
        self._may_be_pending = not self._read

    async def _claim(self) -> list[Row]:
        """Claim the events that another member has had pending for too long."""
        reply = await self._redis.xautoclaim(
            self._stream, self._group, self._member, min_idle_time=round(self._claim_after * 1000), count=100
        )
        return list(reply[1])

    async def _take_returned(self) -> list[Row]:
        """Claim events that members have handed back; of two members that try, one gets each."""
        entries = await self._pending_of(RETURNED)
        if not entries:
            return []
        least_idle = LONG_IDLE_MS // 2
        return list(await self._redis.xclaim(self._stream, self._group, self._member, least_idle, entries))

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
