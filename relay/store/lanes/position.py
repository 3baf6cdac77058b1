"""A lane's place in its topic: the consumer group, and what the ledger needs to tell what the lane has been given.

In the lane's hash, for each topic stream it ever read:

    checkpoint:<stream>   the id up to which everything is settled; where a group that was lost goes on
    start:<stream>        how many entries the stream had ever had when the lane began
    known:<stream>        how many it had lately; fewer now means that the stream was lost and is another one
    settled:<stream>      how many of its entries were delivered or died
    repeated:<stream>     how many were given again because the group was lost after they had been settled
    lost:<stream>         how many can no longer be given, because they were deleted
    left:<stream>         the last id that the lane still owes of a topic it has left for another; `known` stands still

What was routed to a lane is not counted but read off the stream (`entries-added`), so it is right whoever appended.
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
    """Forgets a lane: its groups in every stream it ever read, what it is owed, its past and its counters."""
    lane, group = keys.lane(subscription), keys.push_group(subscription)
    fields = await ask(redis.hkeys(lane))
    streams = [field.decode().removeprefix("start:") for field in fields if field.startswith(b"start:")]
    async with redis.pipeline(transaction=True) as pipe:
        for stream in streams:
            pipe.xgroup_destroy(stream, group)
        parts = ("retries", "tries", "replay", "dead", "attempts", "answers", "blocked")
        pipe.delete(lane, *(keys.lane(subscription, part) for part in parts))
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
        """Makes the lane's groups if they are not there; the streams it has left, with the last id it owes of each.

        A lane that is new starts with what is routed from now on. One whose group was lost goes back to its checkpoint,
        and what it is given again, or can no longer be given, is counted.
        """
        redis_keys = [
            *(self._lane, keys.lane(self._subscription, "retries"), self._stream),
            *(keys.lane(self._subscription, "replay"), keys.LANES),
        ]
        left, *made_again = await _ensure(self._redis, redis_keys, [self._group, self._subscription])
        if made_again:
            given, surplus = made_again
            log.error(
                "lane.group_lost",
                subscription=self._subscription,
                stream=self._stream,
                given_again=given,
                **{"repeated" if surplus > 0 else "lost": abs(surplus)},
            )
        return {stream.decode(): last.decode() for stream, last in zip(left[::2], left[1::2], strict=True)}

    async def save(self) -> None:
        """Remembers up to which entry everything is settled, and how many entries the stream has had."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xpending(self._stream, self._group)
            pipe.xinfo_groups(self._stream)
            pipe.xinfo_stream(self._stream)
            try:
                pending, groups, stream = await pipe.execute()
            except ResponseError as error:
                if is_missing_group(error):
                    return  # the next `ensure` sees to it
                raise
        if pending["pending"]:
            checkpoint = id_before(pending["min"].decode())
        else:
            read_up_to = next(group["last-delivered-id"] for group in groups if group["name"] == self._group.encode())
            checkpoint = read_up_to.decode()
        place = {f"checkpoint:{self._stream}": checkpoint, f"known:{self._stream}": stream["entries-added"]}
        await ask(self._redis.hset(self._lane, mapping=place))
