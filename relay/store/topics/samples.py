"""Samples: events that an operator or a team sends to one subscription, to test that it receives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store import wakeups
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis

TEST_PREFIX = "test_"
"""Beginning of the ids of samples."""

_append = Script(__package__, "sample_append")


async def append_sample(
    redis: Redis, subscription: str, topic: str, fields: Sequence[bytes | str | int], now_ms: int
) -> bool:
    """Give a sample to a lane that exists; return False if too many replays wait there already.

    `fields` are those of an entry of the topic.
    """
    partition = wakeups.partition_of(subscription)
    wakeup = wakeups.deliver(redis.key, partition)
    redis_keys = [redis.key.lane(subscription), redis.key.ready(partition), wakeup.queue]
    arguments = [subscription, topic, now_ms, wakeup.job_id, wakeup.payload, wakeups.LIFETIME_MS, *fields]
    return bool(await _append(redis, redis_keys, arguments))
