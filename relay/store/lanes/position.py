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

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages
from relay.store.isolation import is_wrong_type
from relay.store.lanes.audit import Deletion, log_deletion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis
    from relay.store.lanes.many.look import LanePlace

_ENSURED = 50  # lanes in a round trip
_MAX_EXAMINED = 1000  # pending entries that one save looks at

_ensure, _save = Script(__package__, "ensure_lane"), Script(__package__, "save_checkpoint")
_drop = Script(__package__, "drop_lane")


async def lane_names(redis: Redis) -> list[str]:
    """Return the names of all subscriptions that ever had a lane, sorted."""
    return sorted(name.decode() for name in await ask(redis.smembers(redis.key.lanes)))


async def drop_lane(redis: Redis, subscription: str) -> None:
    """Delete a lane: its groups in every stream that it ever read, its deliveries, attempts and counters."""
    of_lane = redis.key.lane_types(subscription)
    redis_keys = [redis.key.lanes, redis.key.paused, redis.key.breakers, redis.key.prepared, *of_lane]
    await _drop(redis, redis_keys, [subscription, keys.push_group(subscription)])


async def ensure_lanes(redis: Redis, places: Iterable[LanePlace]) -> dict[str, ResponseError]:
    """Create the groups of lanes, as `Position.ensure`, many in a round trip; return the errors of single lanes."""
    failed: dict[str, ResponseError] = {}
    for page in pages(list(places), _ENSURED):
        positions = [Position(redis, *place) for place in page]
        replies = await _ensure.each(redis, [position.ensure_call() for position in positions])
        for place, position, reply in zip(page, positions, replies, strict=True):
            if not isinstance(reply, ResponseError):
                position.ensured(reply)
            elif is_wrong_type(reply):
                failed[place.name] = reply
            else:
                raise reply
    return failed


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
        return self.ensured(await _ensure(self._redis, *self.ensure_call()))

    def ensure_call(self) -> tuple[list[str], list[str]]:
        """Return the keys and arguments of the script that creates the groups."""
        redis_keys = [
            *(self._lane, self._key.lane(self._subscription, "retries"), self._stream),
            *(self._key.lane(self._subscription, "replay"), self._key.lanes, self._key.counts, self._key.topics),
        ]
        return redis_keys, [self._group, self._subscription, keys.CONSUMER, self._key.topic_prefix]

    def ensured(self, reply: Any) -> dict[str, str]:
        """Log what the script found deleted; return the streams that the lane has left, with the last id of each."""
        left, *deleted = reply
        if deleted:
            what, key, given_again, surplus = deleted
            log_deletion(self._subscription, Deletion(key.decode(), what.decode(), given_again, surplus))
        return {stream.decode(): last.decode() for stream, last in zip(left[::2], left[1::2], strict=True)}

    async def save(self) -> None:
        """Save the entry up to which all are settled or were tried, and the number of entries ever added."""
        redis_keys = [self._lane, self._key.lane(self._subscription, "tries"), self._stream, self._key.counts]
        await _save(self._redis, redis_keys, [self._group, _MAX_EXAMINED])
