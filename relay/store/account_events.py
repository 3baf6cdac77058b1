"""Account events of Linq's that the relay reacts to, from the router to the job that reacts.

The router adds them before it commits the batch that they came in, so none is lost; a repetition does no harm. The job
removes them when they are dealt with. The stream is bounded: events beyond that would only ask for the same look again.

A look at Linq costs a token of a bucket (`_BURST`, one more every `_REFILL` seconds), so that a storm of events, real
or forged, does not become a storm of calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis

_GATHER_MS = 500  # from an event to the look that it causes: others of the same change come with it
_APART_MS = 2_000  # from one look to the next
_BURST = 10  # looks at that pace
_REFILL_MS = 20_000  # from one further look to the next in a storm
_MAX_EVENTS = 500


_note = Script(__package__, "account_events_note")


class AccountEvent(NamedTuple):
    """An event, as far as the reaction needs it."""

    type: str
    line: str | None
    """The line that it is about, E.164; None if it is about none."""
    at_ms: int
    """Time at which it was routed, Unix milliseconds."""
    about: str = ""
    """The rest that the log should have, such as the id of the subscription."""
    entry: bytes = b""
    """Its place in the stream; empty for one that is not in it yet."""


class AccountEvents:
    """The stream of the events, and the bucket of looks."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._stream = redis.key.linq_events
        self._bucket = redis.key.linq_look_at

    async def note(self, events: Iterable[AccountEvent], now_ms: int) -> None:
        """Add events, and wake the job that reacts."""
        key, wakeup = self._redis.key, wakeups.react(self._redis.key)
        rows = [part for event in events for part in (event.type, event.line or "", event.at_ms, event.about)]
        head: list[str | int | bytes] = [
            wakeup.job_id,
            wakeup.payload,
            wakeups.LIFETIME_MS,
            now_ms + _GATHER_MS,
            _MAX_EVENTS,
        ]
        await _note(self._redis, [key.linq_events, wakeup.queue], [*head, *rows])

    async def waiting(self) -> list[AccountEvent]:
        """Return the events that wait, oldest first."""
        rows: list[tuple[bytes, dict[bytes, bytes]]] = await ask(self._redis.xrange(self._stream))
        return [_noted(entry, fields) for entry, fields in rows]

    async def drop(self, entries: Sequence[bytes]) -> None:
        """Remove events that are dealt with."""
        if entries:
            await self._redis.xdel(self._stream, *entries)

    async def next_look(self) -> int | None:
        """Return the time of the next look, Unix milliseconds; None if no event waits."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.xlen(self._stream)
            pipe.hmget(self._bucket, ["last", "full"])
            waiting, (last, full) = await pipe.execute()
        if not waiting:
            return None
        return max(int(last or 0) + _APART_MS, int(full or 0) - (_BURST - 1) * _REFILL_MS)

    async def spend_look(self, now_ms: int) -> None:
        """Take the token of a look at `now_ms`."""
        full = int(await ask(self._redis.hget(self._bucket, "full")) or 0)
        at: dict[str | bytes, bytes | float | int | str] = {"last": now_ms, "full": max(full, now_ms) + _REFILL_MS}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._bucket, mapping=at)
            pipe.pexpire(self._bucket, _BURST * _REFILL_MS + _APART_MS)
            await pipe.execute()


def _noted(entry: bytes, fields: Mapping[bytes, bytes]) -> AccountEvent:
    kind, line, at, about = (fields.get(name, b"").decode() for name in (b"type", b"line", b"at", b"about"))
    return AccountEvent(kind, line or None, int(at) if at.isdecimal() else 0, about, entry)
