"""The chat -> line index, learned from the events that say both.

A Linq subscription of one line needs none of this, its URL names the line. One that spans lines (all of v2, and v3 on a
URL without a line) also brings events with a chat and no number, such as v2 `message.read` or v3 `message.failed`.
They get the line that the chat's last event with one has proved.

    look up   the chats of events without a line, unless they are in the cache; one round trip, mostly none
    walk      through the batch in order: a line that was proved teaches, one that is missing is filled in
    store     what is new, one round trip, before the batch is committed: a router that is killed in between leaves its
              successor more knowledge, never less (the batch before may be under way as well)

Both go on until Redis is back, as the commit has to anyway; nothing is routed meanwhile, and nothing without its line.

The cache holds pairs that are stored already, so a busy chat costs one write an hour. It is right as long as no
other router learns: there is one router at a time, and one that begins forgets its cache if another was the last to
store.

A chat takes about 200 bytes of Redis if its id is a UUID, and 140 if it is one of v2's numbers (Valkey 9, a million of
each), so a full map takes 200 MB.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.store import keys, wakeups
from relay.store.driver.client import ask, retry_until_redis_answers
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from relay.core.event import Dialect

_MAX_CHAT = 64  # characters; v3's are UUIDs, v2's integers, and anything longer would make the bound meaningless
_MAX_SAID = 10_000  # chats whose move was logged

_LEASE = keys.lease(wakeups.ROUTE.job_id)
_learn = Script(__package__, "learn_chat_lines")

log = structlog.get_logger()


class Sighting(NamedTuple):
    """The chat of one event, and the line if the event proves it."""

    dialect: Dialect
    chat: str | None
    line: str | None
    """The line that the event itself proves, by its URL or its payload."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of the index."""

    chats: int = 1_000_000
    lifetime: float = 90 * 86400.0
    """Seconds after its last proof that a chat is forgotten."""
    renewal: float = 3600.0
    """Seconds within which a proof is not written again; a chat's last proof is known no more exactly than this."""
    cached: int = 50_000
    """Chats in the cache, about 15 MB; those stored longest ago leave it first."""


class _Known(NamedTuple):
    line: str
    proved: float
    """Unix milliseconds."""


_DEFAULT_BOUNDS = Bounds()


class ChatLines:
    """The map from chats to lines, as the router uses it."""

    def __init__(self, redis: Redis, clock: Callable[[], float], bounds: Bounds = _DEFAULT_BOUNDS) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._clock = clock
        self._bounds = bounds
        self._cache: OrderedDict[str, _Known] = OrderedDict()
        self._unstored: list[str] = []  # chat, line, chat, line, ...
        self._resyncing = 0
        self._last_writer: bytes | None = None
        self._said: set[str] = set()

    async def begin(self) -> None:
        """Clear the cache if another router has written since; call it after acquiring the lease."""
        last_writer = await retry_until_redis_answers(
            "looking who learned chats", lambda: ask(self._redis.get(keys.CHATS_LAST_WRITER))
        )
        if last_writer != self._last_writer:
            self._cache.clear()
            self._unstored.clear()

    def resync(self) -> None:
        """Redis may have lost what is cached as stored; each chat is stored again when it is proved again."""
        self._resyncing = self._now_ms()

    async def resolve(self, sightings: Sequence[Sighting], token: str) -> list[str | None]:
        """The line of each event, in order: the one that it proves, else the one that its chat had then.

        What is proved is stored when this returns.

        Raises:
            LeaseLost: another router holds the lease.
        """
        await self._look_up(sightings)
        now = self._now_ms()
        lines = [self._line_of(sighting, now) for sighting in sightings]
        if self._unstored:
            await self._store(token, now)
        while len(self._cache) > self._bounds.cached:
            self._cache.popitem(last=False)
        return lines

    async def _look_up(self, sightings: Sequence[Sighting]) -> None:
        """Brings the chats of events without a line into the cache, as far as they are known."""
        wanted = {key for sighting in sightings if sighting.line is None and (key := _key(sighting)) is not None}
        unknown = [key for key in wanted if key not in self._cache]
        if not unknown:
            return
        lines, proofs = await retry_until_redis_answers("looking up chats", lambda: self._read(unknown), self.resync)
        for key, line, proved in zip(unknown, lines, proofs, strict=True):
            if line is not None and proved is not None:
                self._cache[key] = _Known(line.decode(), proved)

    async def _read(self, redis_keys: list[str]) -> tuple[list[bytes | None], list[float | None]]:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hmget(keys.CHATS, redis_keys)
            pipe.zmscore(keys.CHATS_PROVED, redis_keys)
            lines, proofs = await pipe.execute()
        return lines, proofs

    def _line_of(self, sighting: Sighting, now: int) -> str | None:
        key, line = _key(sighting), sighting.line
        if key is None:
            return line
        known = self._cache.get(key)
        if line is None:
            return known.line if known and known.proved > now - self._bounds.lifetime * 1000 else None
        stored_after = max(now - self._bounds.renewal * 1000, self._resyncing)
        if known is None or known.line != line or known.proved <= stored_after:
            self._cache[key] = _Known(line, now)
            self._cache.move_to_end(key)
            self._unstored += (key, line)
        return line

    async def _store(self, token: str, now: int) -> None:
        lifetime = round(self._bounds.lifetime * 1000)
        redis_keys = [_LEASE, keys.CHATS, keys.CHATS_PROVED, keys.CHATS_LAST_WRITER]
        arguments: list[str | int] = [token, now, lifetime, self._bounds.chats, *self._unstored]
        moved = await retry_until_redis_answers(
            "learning chats", lambda: _learn(self._redis, redis_keys, arguments), self.resync
        )
        if moved == -1:
            raise LeaseLost
        self._last_writer = token.encode()
        self._unstored.clear()
        for chat, former, line in zip(moved[::3], moved[1::3], moved[2::3], strict=True):
            self._log_moved(chat.decode(), former.decode(), line.decode())

    def _log_moved(self, chat: str, former: str, line: str) -> None:
        """Logs a chat's move; once, should it go to and fro."""
        if chat in self._said:
            return
        if len(self._said) >= _MAX_SAID:
            self._said.clear()
        self._said.add(chat)
        log.warning("chat.moved", chat=chat, line=line, former_line=former)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


def _key(sighting: Sighting) -> str | None:
    """The chat's name in the map: both APIs number their chats, each in its own way."""
    dialect, chat, _ = sighting
    return f"{dialect}:{chat}" if chat is not None and len(chat) <= _MAX_CHAT else None
