"""Dead letters: deliveries that failed for good, for inspection and replay.

Each lane has a stream of them, oldest first: the event as in its topic, and `dead_*` fields with the reason. They stay
until an operator replays or drops them, even if their subscription is no longer in relay.toml; beyond the bounds of the
subscription, the oldest are deleted (`dead_letter_bounds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.errors import StoreError
from relay.core.event_filter import Candidate, EventFilter
from relay.store import wakeups
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages
from relay.store.isolation import Isolation
from relay.store.lanes.position import lane_names
from relay.store.topics.record import Record, record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.store.driver.client import Redis

_PAGE = 200
_replay, _drop = Script(__package__, "dead_letter_replay"), Script(__package__, "dead_letter_drop")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead-lettered delivery."""

    subscription: str
    topic: str
    record: Record
    """The event; its `entry` is the dead letter's id."""
    at: int
    """Time of dead-lettering, Unix milliseconds."""
    reason: str
    tries: int
    first_at: int
    """Start of its first attempt, Unix milliseconds."""
    status: int | None
    """The HTTP status of the last attempt; None without a response."""
    detail: str

    def as_candidate(self) -> Candidate:
        """Return the fields that a filter can match."""
        record = self.record
        return Candidate(record.id, record.type, record.line, record.chat, reason=self.reason, at_ms=self.at)


_ANY = EventFilter()


class DeadLetters:
    """The dead letters of every lane."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = redis.key
        self._isolation = Isolation(redis)

    async def lanes(self) -> list[str]:
        """Return the names of all subscriptions that ever had a lane."""
        return await lane_names(self._redis)

    async def of(self, subscription: str, event_filter: EventFilter = _ANY) -> AsyncIterator[DeadLetter]:
        """Yield the matching dead letters of a subscription, oldest first; none if they were overwritten."""
        stream, start = self._key.lane(subscription, "dead"), "-"
        types = self._key.lane_types(subscription)
        while rows := await self._isolation.contain("lane", subscription, self._page(stream, start), types):
            for entry, fields in rows:
                letter = letter_of(subscription, entry, fields)
                if event_filter.matches(letter.as_candidate()):
                    yield letter
            start = f"({rows[-1][0].decode()}"

    async def by_ids(self, subscription: str, entries: Sequence[str]) -> list[DeadLetter]:
        """Return the dead letters of a subscription with these ids, without those that do not exist."""
        stream, types = self._key.lane(subscription, "dead"), self._key.lane_types(subscription)
        found: list[DeadLetter] = []
        for page in pages(entries, _PAGE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for entry in page:
                    pipe.xrange(stream, entry, entry)
                replies = await self._isolation.contain("lane", subscription, pipe.execute(), types)
            found += [letter_of(subscription, *row) for rows in replies or () for row in rows]
        return found

    async def _page(self, stream: str, start: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        return list(await self._redis.xrange(stream, start, "+", count=_PAGE))

    async def replay(self, subscription: str, entries: Sequence[str], now_ms: int) -> int:
        """Replay dead letters, with a new budget of attempts; return the number that still existed.

        Raises:
            StoreError: too many replayed events of the subscription wait already.
        """
        return await self._each_page(_replay, subscription, entries, now_ms)

    async def drop(self, subscription: str, entries: Sequence[str], now_ms: int) -> int:
        """Delete dead letters; return the number that still existed."""
        return await self._each_page(_drop, subscription, entries, now_ms)

    async def _each_page(self, script: Script, subscription: str, entries: Sequence[str], now_ms: int) -> int:
        partition = wakeups.partition_of(subscription)
        wakeup = wakeups.deliver(self._key, partition)
        redis_keys = [self._key.lane(subscription), self._key.ready(partition), self._key.queue]
        found = 0
        for page in pages(entries, _PAGE):
            arguments: list[bytes | str | int] = [
                subscription,
                now_ms,
                wakeup.job_id,
                wakeup.payload,
                wakeups.LIFETIME_MS,
                *page,
            ]
            count = int(await script(self._redis, redis_keys, arguments))
            if count < 0:
                raise StoreError(
                    f"{subscription} has 100,000 replayed events waiting; replay more once they are delivered"
                )
            found += count
        return found


def letter_of(subscription: str, entry: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """Return the dead letter of an entry in a lane's stream of them."""

    def text(name: str) -> str:
        return fields.get(f"dead_{name}".encode(), b"").decode(errors="replace")

    return DeadLetter(
        subscription=subscription,
        topic=text("topic"),
        record=record_of(entry, fields),
        at=int(text("at") or 0),
        reason=text("reason"),
        tries=int(text("tries") or 0),
        first_at=int(text("first_at") or 0),
        status=int(text("status")) if text("status") else None,
        detail=text("detail"),
    )
