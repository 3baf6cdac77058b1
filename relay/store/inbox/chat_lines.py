"""The chat -> line index, learned from events that name both.

A Linq subscription for one line does not need the index: its URL names the line. One that spans lines (all of v2, and
v3 on a URL without a line) also sends events with a chat and no number, such as v2 `message.read` or v3
`message.failed`. They get the line of the chat's last event that proved one.

    look up   the chats of events without a line, unless they are cached; one round trip, mostly none
    resolve   the batch in order: a proved line updates the cache, a missing line is filled in from it
    store     new pairs, one round trip, before the batch is committed: if a router is killed in between, its successor
              has more pairs, never fewer (the batch before may be in flight as well)

Both are retried until Redis is back, as the commit is; no event is routed meanwhile, or without its line.

The cache has stored pairs, so a busy chat costs one write an hour. It is correct as long as no other router writes:
there is one router at a time, and a router that starts clears its cache if another was the last writer.

While the relay grows (`sharding.growth.state`), the router of a new shard looks up a chat that it does not know on its
former shard too: the copy of its line may come later, and the former shard may still learn it.

A chat takes about 200 bytes of Redis if its id is a UUID, and 140 if it is one of v2's numbers (Valkey 9, a million of
each), so a full index takes 200 MB.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.core.event import source_name
from relay.core.sharding.placement import shard_of_chat
from relay.store import wakeups
from relay.store.driver.client import ask, retry_until_redis_answers
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.driver.scripts import Script
from relay.store.sharding.chat_index import LIFETIME, chat_in
from relay.store.sharding.growth.state import read_growth
from relay.store.sharding.places import grouped_by_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.event import Dialect
    from relay.store.driver.client import Redis

_MAX_CHAT = 64  # characters; v3's are UUIDs, v2's integers, and longer ids would break the memory bound
_MAX_LOGGED = 10_000  # chats whose move was logged

_learn = Script(__package__, "learn_chat_lines")

log = structlog.get_logger()


class Sighting(NamedTuple):
    """The chat of an event, and its line if the event proves it."""

    dialect: Dialect
    chat: str | None
    line: str | None
    """The line that the event itself proves, by its URL or its payload."""
    account: str | None = None
    """Its account of `[[linq.accounts]]`: one cannot teach the chats of another."""


class Bounds(NamedTuple):
    """The limits of the index."""

    chats: int = 1_000_000
    lifetime: float = LIFETIME
    """Seconds after its last proof when a chat is deleted."""
    renewal: float = 3600.0
    """Seconds before a proof is written again; the precision of a chat's last proof."""
    cached: int = 50_000
    """Chats in the cache, about 15 MB; the least recently stored are evicted first."""


class _CachedLine(NamedTuple):
    line: str
    proved: float
    """Unix milliseconds."""


_DEFAULT_BOUNDS = Bounds()


class ChatLines:
    """The map from chats to lines, as the router uses it."""

    def __init__(
        self, redis: Redis, clock: Callable[[], float], bounds: Bounds = _DEFAULT_BOUNDS, home: Redis | None = None
    ) -> None:
        """`clock` returns Unix seconds; `home` is the first shard, if this is another."""
        self._redis, self._home = redis, home or redis
        self._former: tuple[Redis, ...] = ()  # the shards that may know its chats too
        self._keys = (
            redis.key.lease(wakeups.route(redis.key).job_id),
            *(redis.key.chats, redis.key.chats_proved, redis.key.chats_last_writer),
        )
        self._clock = clock
        self._bounds = bounds
        self._cache: OrderedDict[str, _CachedLine] = OrderedDict()
        self._unstored: list[str] = []  # flat: chat, line, chat, line, ...
        self._resyncing = 0
        self._last_writer: bytes | None = None
        self._logged: set[str] = set()

    async def begin(self) -> None:
        """Clear the cache if another router has written since; call it after acquiring the lease."""
        last_writer = await retry_until_redis_answers(
            "reading the last writer of chats", lambda: ask(self._redis.get(self._redis.key.chats_last_writer))
        )
        if last_writer != self._last_writer:
            self._cache.clear()
            self._unstored.clear()
        if self._redis is not self._home:
            growth = await retry_until_redis_answers("reading the growth", lambda: read_growth(self._home))
            former = self._home.shards[: growth.former] if growth is not None and growth.done_ms is None else ()
            self._former = () if self._redis in former else former

    def resync(self) -> None:
        """Store each chat again at its next proof: Redis may have lost the cached pairs."""
        self._resyncing = self._now_ms()

    async def resolve(self, sightings: Sequence[Sighting], token: str) -> list[str | None]:
        """Return the line of each event, in order: its own if it proves one, else that of its chat at that moment.

        All proofs are stored when this returns.

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
        """Cache the known chats of events without a line."""
        chats = {key for sighting in sightings if sighting.line is None and (key := _key(sighting)) is not None}
        unknown = [key for key in chats if key not in self._cache]
        if not unknown:
            return
        await self._cache_from(self._redis, unknown)
        if not self._former:
            return
        former = len(self._former)
        located = ((key, shard_of_chat(chat_in(key), former)) for key in unknown if key not in self._cache)
        for shard, of_shard in grouped_by_shard(located, former).items():
            await self._cache_from(self._former[shard], of_shard)

    async def _cache_from(self, shard: Redis, chats: list[str]) -> None:
        """Cache those of the chats that a shard knows."""

        async def read() -> tuple[list[bytes | None], list[float | None]]:
            async with shard.pipeline(transaction=False) as pipe:  # Redis 7.0 has no transactions at `maxmemory`
                pipe.hmget(shard.key.chats, chats)
                pipe.zmscore(shard.key.chats_proved, chats)
                lines, proofs = await pipe.execute()
            return lines, proofs

        lines, proofs = await retry_until_redis_answers("looking up chats", read, self.resync)
        for key, line, proved in zip(chats, lines, proofs, strict=True):
            if line is not None and proved is not None:
                self._cache[key] = _CachedLine(line.decode(), proved)

    def _line_of(self, sighting: Sighting, now: int) -> str | None:
        key, line = _key(sighting), sighting.line
        if key is None:
            return line
        known = self._cache.get(key)
        if line is None:
            return known.line if known and known.proved > now - self._bounds.lifetime * 1000 else None
        stored_after = max(now - self._bounds.renewal * 1000, self._resyncing)
        if known is None or known.line != line or known.proved <= stored_after:
            self._cache[key] = _CachedLine(line, now)
            self._cache.move_to_end(key)
            self._unstored += (key, line)
        return line

    async def _store(self, token: str, now: int) -> None:
        lifetime = round(self._bounds.lifetime * 1000)
        arguments: list[str | int] = [token, now, lifetime, self._bounds.chats, *self._unstored]
        moved = await retry_until_redis_answers(
            "learning chats", lambda: _learn(self._redis, self._keys, arguments), self.resync
        )
        if moved == -1:
            raise LeaseLost
        self._last_writer = token.encode()
        self._unstored.clear()
        for chat, former, line in zip(moved[::3], moved[1::3], moved[2::3], strict=True):
            self._log_moved(chat.decode(), former.decode(), line.decode())

    def _log_moved(self, chat: str, former: str, line: str) -> None:
        """Log a chat's move, once even if it moves back and forth."""
        if chat in self._logged:
            return
        if len(self._logged) >= _MAX_LOGGED:
            self._logged.clear()
        self._logged.add(chat)
        log.warning("chat.moved", chat=chat, line=line, former_line=former)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


def _key(sighting: Sighting) -> str | None:
    """Return the chat's key in the index: the two APIs number chats differently."""
    dialect, chat, _, account = sighting
    if chat is None or len(chat) > _MAX_CHAT:
        return None
    return f"{dialect}:{chat}" if account is None else f"{source_name(dialect, account)}:{chat}"
