"""A lane's position in its topic: the consumer group, and the counters that the ledger needs.

In the lane's hash, for each topic stream that it ever read:

    checkpoint:<stream>   the id up to which all entries are settled; a lost group resumes here
    start:<stream>        entries ever added to the stream when the lane was created
    known:<stream>        entries ever added at the last save; fewer now means that the stream was lost
    settled:<stream>      entries that were delivered, filtered or dead-lettered
    repeated:<stream>     settled entries that were delivered again because the group was lost
    lost:<stream>         entries that were deleted before they were delivered
    left:<stream>         the last id that the lane still owes of a topic that it has left; `known` is final

The routed events of a lane are not counted but read from the stream (`entries-added`), which includes every append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import id_before, is_missing_group

if TYPE_CHECKING:
    from redis.asyncio import Redis

_ensure = Script(__package__, "ensure_lane")

log = structlog.get_logger()


async def drop_lane(redis: Redis, subscription: str) -> None:
    """Delete a lane: its groups in every stream that it ever read, its deliveries, attempts and counters."""
    lane, group = keys.lane(subscription), keys.push_group(subscription)
    fields = await ask(redis.hkeys(lane))
    streams = [field.decode().removeprefix("start:") for field in fields if field.startswith(b"start:")]
    async with redis.pipeline(transaction=True) as pipe:
        for stream in streams:
            pipe.xgroup_destroy(stream, group)
        pipe.delete(*keys.lane_types(subscription))
        pipe.srem(keys.LANES, subscription)
        pipe.hdel(keys.PAUSED, subscription)
        pipe.hdel(keys.BREAKERS, subscription)
        for result in await pipe.execute(raise_on_error=False):
            if isinstance(result, Exception) and not _is_missing_stream(result):
                raise result


def _is_missing_stream(error: Exception) -> bool:
    """Return True if XGROUP failed because its stream does not exist."""
    return "requires the key to exist" in str(error)


class Position:
    """The position of a lane in a topic stream."""

    def __init__(self, redis: Redis, subscription: str, stream: str) -> None:
        self._redis = redis
        self._subscription = subscription
        self._stream = stream
        self._lane = keys.lane(subscription)
        self._group = keys.push_group(subscription)

    async def ensure(self) -> dict[str, str]:
        """Create the lane's groups if they do not exist; return the streams that it has left, with the last id of each.

        A new lane starts with the events routed from now on. If its group was lost, it returns to its checkpoint, and
        the events that are delivered again, or were deleted, are counted.
        """
        redis_keys = [
            *(self._lane, keys.lane(self._subscription, "retries"), self._stream),
            *(keys.lane(self._subscription, "replay"), keys.LANES),
        ]
        left, *recreated = await _ensure(self._redis, redis_keys, [self._group, self._subscription])
        if recreated:
            given, surplus = recreated
            log.error(
                "lane.group_lost",
                subscription=self._subscription,
                stream=self._stream,
                given_again=given,
                **{"repeated" if surplus > 0 else "lost": abs(surplus)},
            )
        return {stream.decode(): last.decode() for stream, last in zip(left[::2], left[1::2], strict=True)}

    async def save(self) -> None:
        """Save the entry up to which all are settled, and the number of entries ever added to the stream."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xpending(self._stream, self._group)
            pipe.xinfo_groups(self._stream)
            pipe.xinfo_stream(self._stream)
            try:
                pending, groups, stream = await pipe.execute()
            except ResponseError as error:
                if is_missing_group(error):
                    return  # the next `ensure` creates it
                raise
        if pending["pending"]:
            checkpoint = id_before(pending["min"].decode())
        else:
            read_up_to = next(group["last-delivered-id"] for group in groups if group["name"] == self._group.encode())
            checkpoint = read_up_to.decode()
        saved = {f"checkpoint:{self._stream}": checkpoint, f"known:{self._stream}": stream["entries-added"]}
        await ask(self._redis.hset(self._lane, mapping=saved))
