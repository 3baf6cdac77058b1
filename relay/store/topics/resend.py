"""The sending of one event of a topic to a push subscription again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.errors import TooMany
from relay.store import wakeups
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_append = Script(__package__, "append_replay")


async def append_replay(redis: Redis, topic: str, entry: str, subscription: str, now_ms: int) -> str | None:
    """Append an event to the replays of a lane, whose groups must exist; return the id of the replay.

    None if the topic does not have the entry any more.

    Raises:
        TooMany: too many replayed events of the subscription wait already.
    """
    key, partition = redis.key, wakeups.partition_of(subscription)
    wakeup = wakeups.deliver(key, partition)
    redis_keys = [key.topic(topic), key.lane(subscription), key.ready(partition), wakeup.queue]
    arguments: list[bytes | str | int] = [
        entry,
        topic,
        subscription,
        now_ms,
        wakeup.job_id,
        wakeup.payload,
        wakeups.LIFETIME_MS,
    ]
    replay: bytes | int = await _append(redis, redis_keys, arguments)
    if isinstance(replay, int):
        raise TooMany(f"{subscription} has 100,000 replayed events waiting; send more once they are delivered")
    return replay.decode() or None
