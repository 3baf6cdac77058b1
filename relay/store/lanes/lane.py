"""A push subscription's lane in Redis: its new, waiting and orphaned deliveries.

A lane reads two streams with the same group name: its topic, and its own replay stream of events that an operator has
replayed, from the dead letters or from a topic's history. The topic has priority: replays fill the rest of a read.
A delivery is identified by stream and entry (`Ref`). It stays pending in its group from the read until it is settled,
retries included, so a lane's pending entries are exactly the unsettled ones; `retries` has the due times of waiting
deliveries, `tries` their attempts. The next worker of the lane finds the pending entries that do not wait, and sends
them (`orphans`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.store import keys, wakeups
from relay.store.driver.client import ask, ask_together
from relay.store.driver.fenced_reads import Claim, ReadLimits, read_due, read_left, read_new
from relay.store.driver.streams import is_missing_group, order_of
from relay.store.inbox.reading.hand_over import Offer
from relay.store.isolation import wrong_keys
from relay.store.lanes.delivery import Delivery, Ref, Tries
from relay.store.lanes.position import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis
    from relay.store.isolation import WrongKey

_PAGE = 500


class Lane:
    """The keys of a lane, and all reads of them. The `Settler` writes, in batches over lanes."""

    def __init__(self, redis: Redis, subscription: str, topic: str) -> None:
        self._redis = redis
        self.name = subscription
        self.key = redis.key.lane(subscription)
        self.group = keys.push_group(subscription)
        self.topic_stream = redis.key.topic(topic)
        self.replay_stream = redis.key.lane(subscription, "replay")
        self._lease = redis.key.lease(wakeups.deliver(redis.key, wakeups.partition_of(subscription)).job_id)
        self._position = Position(redis, subscription, self.topic_stream)
        self._retries = redis.key.lane(subscription, "retries")
        self._tries = redis.key.lane(subscription, "tries")
        self._blocked = redis.key.lane(subscription, "blocked")
        self._left: dict[str, str] = {}  # topics that it read before, with the last entry that it owes
        self._unread: dict[str, str] = {}  # topics in `_left` with unread entries

    async def ensure(self) -> None:
        """Create the lane's groups if they do not exist, and load the topics that it has left (`Position.ensure`)."""
        self._left = await self._position.ensure()
        self._unread = dict(self._left)

    @property
    def _streams(self) -> tuple[str, ...]:
        return (self.topic_stream, self.replay_stream, *self._left)

    @property
    def key_types(self) -> dict[str, str]:
        """Every key that it reads or writes, with the type in Redis."""
        return self._redis.key.lane_types(self.name) | dict.fromkeys(self._streams, "stream")

    async def wrong_keys(self) -> list[WrongKey]:
        """Return its keys that are of a wrong type, since another client has overwritten them."""
        return await wrong_keys(self._redis, self.key_types)

    async def save_checkpoint(self) -> None:
        """Save the entry up to which all deliveries are settled or were tried."""
        await self._position.save()

    async def read_new(self, count: int, token: str = "", max_total: int | None = None) -> list[Delivery]:
        """Read new deliveries without waiting; empty if there are none.

        Read at most `count` of the topic, then replays up to `max_total` (default `count`) in all, and at least one
        replay: entries read now come before those routed next.

        Raises:
            LeaseLost: another worker holds the lease of the lane's partition.
        """
        claim, limits = Claim(self._lease, token), ReadLimits(count, count if max_total is None else max_total)
        try:
            rows = await read_new(self._redis, claim, self.group, (self.topic_stream, self.replay_stream), limits)
        except ResponseError as error:
            if not is_missing_group(error):
                raise
            await self.ensure()
            return await self.read_new(count, token, max_total)
        for stream, last in list(self._unread.items()):
            owed = await read_left(self._redis, claim, self.group, stream, last, count)
            rows = owed + rows
            if not owed:
                del self._unread[stream]
        return [Delivery(Ref(stream.decode(), entry.decode()), fields) for stream, entry, fields in rows]

    @property
    def owes_other_topics(self) -> bool:
        """True if a topic that it has left may have unread entries."""
        return bool(self._unread)

    def offer(self, stream: str, token: str, count: int) -> Offer | None:
        """Return the offer to take new events of `stream`; None if it reads another topic, or must read one first."""
        is_next = stream == self.topic_stream and not self._unread
        return Offer(self.name, self._lease, token, self.group, count) if is_next else None

    async def orphans(self) -> list[Ref]:
        """Return the pending deliveries that do not wait for a retry: the worker that read them is gone."""
        found: list[Ref] = []
        for stream in self._streams:
            start = "-"
            while rows := await self._pending_page(stream, start):
                refs = [Ref(stream, row["message_id"].decode()) for row in rows]
                due = await self._redis.zmscore(self._retries, [str(ref) for ref in refs])
                found += [ref for ref, score in zip(refs, due, strict=True) if score is None]
                start = f"({refs[-1].entry}"
        return found

    async def in_hand(self) -> int:
        """Count the deliveries that are in flight or orphans: read, not settled, and not waiting."""

        def queue(pipe: Pipeline) -> None:
            pipe.zcard(self._retries)
            for stream in self._streams:
                pipe.xpending(stream, self.group)

        waiting, *pending = await ask_together(self._redis, queue, raise_on_error=False)
        for reply in (waiting, *pending):
            if isinstance(reply, ResponseError) and not is_missing_group(reply):
                raise reply
        owed = sum(int(state["pending"]) for state in pending if not isinstance(state, ResponseError))
        return owed - int(waiting)

    async def _pending_page(self, stream: str, start: str) -> list[dict[str, bytes]]:
        try:
            rows: list[dict[str, bytes]] = await self._redis.xpending_range(stream, self.group, start, "+", _PAGE)
        except ResponseError as error:
            if not is_missing_group(error):
                raise
            await self.ensure()
            return []
        return rows

    async def read_due(self, now_ms: int, count: int, token: str = "") -> list[Delivery]:
        """Take at most `count` deliveries that are due for a retry, the longest due first.

        They no longer wait once they are taken: if this worker dies, they are orphans.

        Raises:
            LeaseLost: another worker holds the lease of the lane's partition.
        """
        members = await read_due(self._redis, Claim(self._lease, token), self._retries, now_ms, count)
        return await self.fetch([Ref.parse(member) for member in members])

    async def next_due(self) -> int | None:
        """Return the due time of the next retry, Unix milliseconds; None if none waits."""
        rows = await self._redis.zrange(self._retries, 0, 0, withscores=True)
        return int(rows[0][1]) if rows else None

    async def retrying(self) -> int:
        """Count the deliveries that wait for a retry."""
        return int(await self._redis.zcard(self._retries))

    async def waiting(self) -> list[Ref]:
        """Return every delivery that waits for its next attempt."""
        return [Ref.parse(member) for member in await self._redis.zrange(self._retries, 0, -1)]

    async def blocked_chats(self) -> dict[str, Ref]:
        """Return the chats that a dead letter blocks, each with that dead letter, or with its unsettled replay."""
        rows = await ask(self._redis.hgetall(self._blocked))
        return {chat.decode(): Ref.parse(ref) for chat, ref in rows.items()}

    async def fetch(self, refs: Sequence[Ref]) -> list[Delivery]:
        """Read the deliveries of `refs`, with their fields and tries."""
        if not refs:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._tries, [str(ref) for ref in refs])
            for ref in refs:
                pipe.xrange(ref.stream, ref.entry, ref.entry)
            tries, *entries = await pipe.execute()
        return [
            Delivery(ref, rows[0][1] if rows else {}, Tries.decode(text))
            for ref, rows, text in zip(refs, entries, tries, strict=True)
        ]

    async def has_new(self) -> bool:
        """Return True if any stream has an entry that the group has not read; call `ensure` first."""
        for stream in (self.topic_stream, self.replay_stream):
            last = (await self._redis.xinfo_stream(stream))["last-generated-id"]
            if order_of(await self._read_up_to(stream)) < order_of(last.decode()):
                return True
        for stream, end in self._left.items():
            if await self._redis.exists(stream) and order_of(await self._read_up_to(stream)) < order_of(end):
                return True
        return False

    async def _read_up_to(self, stream: str) -> str:
        """Return the last entry that the group has read; `0-0` if the group was just deleted."""
        groups = await self._redis.xinfo_groups(stream)
        found = next((group["last-delivered-id"] for group in groups if group["name"] == self.group.encode()), b"0-0")
        return found.decode()
