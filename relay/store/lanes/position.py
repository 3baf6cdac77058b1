"""A lane's position in its topic: the consumer group, and the counters that the ledger needs.

In the lane's hash, for each topic stream that it ever read:

    checkpoint:<stream>   the id up to which all entries are settled or were tried; a lost group resumes here
    start:<stream>        entries ever added to the stream when the lane was created
    known:<stream>        entries ever added at the last save; fewer now means that the stream was lost
    last:<stream>         the last id of the stream at the last save; a stream that begins later is a new one
    counted:<stream>      entries that the router had ever added at the last save, by its own counter (`counts`)
    settled:<stream>      entries that were delivered, filtered or dead-lettered
    repeated:<stream>     settled entries that were delivered again because the group was lost
    lost:<stream>         entries that were deleted before they were delivered (also of `replay` and `dead`)
    dropped:<stream>      entries that an operator dropped with their topic
    gone:<stream>         1 after that, until relay.toml has the topic again
    left:<stream>         the last id that the lane still owes of a topic that it has left; `known` is final

The routed events of a lane are not counted but read from the stream (`entries-added`), which includes every append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import is_missing_stream
from relay.store.lanes.audit import Deletion, log_deletion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis

_PAGE = 500  # lanes
_MAX_EXAMINED = 1000  # pending entries that one save looks at

_ensure, _save = Script(__package__, "ensure_lane"), Script(__package__, "save_checkpoint")


async def lane_names(redis: Redis) -> list[str]:
    """Return the names of all subscriptions that ever had a lane, sorted."""
    return sorted(name.decode() for name in await ask(redis.smembers(redis.key.lanes)))


async def streams_read(redis: Redis, subscription: str) -> list[str]:
    """Return every topic stream that a lane ever read."""
    return _streams_in(await ask(redis.hkeys(redis.key.lane(subscription))))


def _streams_in(fields: Iterable[bytes]) -> list[str]:
    return [field.decode().removeprefix("start:") for field in fields if field.startswith(b"start:")]


async def drop_lane(redis: Redis, subscription: str) -> None:
    """Delete a lane: its groups in every stream that it ever read, its deliveries, attempts and counters."""
    group, streams = keys.push_group(subscription), await streams_read(redis, subscription)
    async with redis.pipeline(transaction=True) as pipe:
        for stream in streams:
            pipe.xgroup_destroy(stream, group)
        pipe.delete(*redis.key.lane_types(subscription))
        pipe.srem(redis.key.lanes, subscription)
        pipe.hdel(redis.key.paused, subscription)
        pipe.hdel(redis.key.breakers, subscription)
        for result in await pipe.execute(raise_on_error=False):
            if isinstance(result, Exception) and not is_missing_stream(result):
                raise result


class Position:
    """The position of a lane in a topic stream."""

    def __init__(self, redis: Redis, subscription: str, stream: str) -> None:
        self._redis = redis
        self._key = redis.key
        self._subscription = subscription
        self._stream = stream
        self._lane = redis.key.lane(subscription)
        self._group = keys.push_group(subscription)

    async def ensure(self) -> dict[str, str]:
        """Create the lane's groups if they do not exist; return the streams that it has left, with the last id of each.

        A new lane starts with the events routed from now on. If its group was lost, it returns to its checkpoint, and
        the events that are delivered again, or were deleted, are counted.
        """
        redis_keys = [
            *(self._lane, self._key.lane(self._subscription, "retries"), self._stream),
            *(self._key.lane(self._subscription, "replay"), self._key.lanes, self._key.counts, self._key.topics),
        ]
        arguments = [self._group, self._subscription, keys.CONSUMER, self._key.topic_prefix]
        left, *deleted = await _ensure(self._redis, redis_keys, arguments)
        if deleted:
            what, key, given_again, surplus = deleted
            log_deletion(self._subscription, Deletion(key.decode(), what.decode(), given_again, surplus))
        return {stream.decode(): last.decode() for stream, last in zip(left[::2], left[1::2], strict=True)}

    async def save(self) -> None:
        """Save the entry up to which all are settled or were tried, and the number of entries ever added."""
        redis_keys = [self._lane, self._key.lane(self._subscription, "tries"), self._stream, self._key.counts]
        await _save(self._redis, redis_keys, [self._group, _MAX_EXAMINED])
