"""Backfilled messages: missing ones that the relay has put back into its inbox.

A message is put back, and noted, in one step, which looks once more whether its event was accepted meanwhile. Linq may
still send that event. Since the inbox is routed in order, the router can tell which came first:

    Linq's event, then the backfill    the backfill goes to no topic
    the backfill, then Linq's event    Linq's event goes only to topics that did not get the backfill

Notes are kept for `RELAY_GAP_WINDOW`, since Linq may recover a message hours later: about 150 bytes each, for at most
`MAX_BACKFILLED` messages. At that number a backfill stops, and continues when older notes have expired.

A message is put back on the shard of its chat, which is that of its event: so the router there sees both in their
order. The shards share the number of notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.core.event import Dialect, source_name
from relay.core.sharding.placement import shard_of
from relay.linq.payloads.shard_key import shard_key_in
from relay.store import wakeups
from relay.store.driver.scripts import Script
from relay.store.gaps.message_index import HOUR_MS, lifetime_ms, message_key
from relay.store.gaps.walk_record import LIFE_MS
from relay.store.sharding.growth.fence import StalePlacement
from relay.store.sharding.places import grouped_by_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.store.driver.client import Redis
    from relay.store.gaps.message_index import ReadTo

MAX_BACKFILLED = 1_000_000
SOURCE = "backfill"
"""The `source` of an event that was put back."""

_put_back, _forget = Script(__package__, "put_back"), Script(__package__, "forget_backfilled")


class NoRoom(Exception):
    """As many backfilled messages are noted as can be."""


@dataclass(frozen=True, slots=True)
class MissingMessage:
    """A message to put back, as an event."""

    event_id: str
    event_type: str
    line: str
    message: str
    """Id of the message."""
    body: bytes

    @property
    def key(self) -> bytes:
        """Its key in the message index."""
        return message_key(self.event_type, self.line, self.message)

    @property
    def field(self) -> str:
        """Its field among the backfilled messages."""
        return f"{self.event_type}:{self.line}:{self.message}"


@dataclass(frozen=True, slots=True)
class PutBack:
    """The result for several messages."""

    put: int
    before: int
    """Put back before."""
    meanwhile: int
    """Accepted since the index was read."""


def by_shard(messages: Iterable[MissingMessage], shards: int) -> dict[int, list[MissingMessage]]:
    """Return the messages by the number of the shard that has, or would have, their events."""
    located = (
        (message, shard_of(shard_key_in(Dialect.V3, message.body), shards) if shards > 1 else 0) for message in messages
    )
    return grouped_by_shard(located, shards)


class ShardPlace(NamedTuple):
    """A shard to which messages belong."""

    shard: Redis
    read: ReadTo
    """Result of `MessageIndex.read` for it."""
    placed_by: int
    """The number of shards by which it was chosen."""


async def put_back(
    place: ShardPlace,
    messages: Sequence[MissingMessage],
    now_ms: int,
    most: int = MAX_BACKFILLED,
    account: str | None = None,
) -> PutBack:
    """Put messages back into the inbox of their shard; `account` is that of their line.

    Raises:
        NoRoom: `most` backfilled messages are noted.
        StalePlacement: events are placed by another number there; nothing is put back.
    """
    redis, (hour, length) = place.shard, place.read
    key, wakeup = redis.key, wakeups.route(redis.key)
    following = max(hour, now_ms // HOUR_MS)
    keys = [key.inbox, key.counts, key.queue, key.backfilled, key.messages(hour), key.messages(following)]
    keys.append(key.walk(account=account))
    arguments: list[bytes | str | int] = [length, most, now_ms, wakeup.job_id, wakeup.payload, wakeups.LIFETIME_MS]
    arguments += (source_name(Dialect.V3, account), LIFE_MS, place.placed_by)
    for message in messages:
        arguments += (message.field, message.key, message.event_id, message.event_type, message.body)
    result = await _put_back(redis, keys, arguments)
    if isinstance(result, int):
        raise StalePlacement(result)
    put, before, meanwhile = result
    if put < 0:
        raise NoRoom
    return PutBack(put, before, meanwhile)


async def forget_backfilled(redis: Redis, window: float, now_ms: int) -> int:
    """Forget the messages that were put back before the window, in seconds; return their number."""
    before = now_ms // HOUR_MS - lifetime_ms(window) // HOUR_MS
    cursor, forgotten = b"0", 0
    while True:
        cursor, gone = await _forget(redis, [redis.key.backfilled], [cursor, before])
        forgotten += int(gone)
        if cursor == b"0":
            return forgotten
