"""Wake-up jobs. A wake-up is an arq job with a fixed id and no payload that starts a drain.

It is written in arq's own format by our scripts or by `wake`; enqueueing one that is already queued is a no-op. Lanes
are spread over a fixed number of partitions, and a wake-up wakes a partition, not a lane: arq looks at every job in
flight on every poll, so there must be few of them however many lanes there are. Losing a wake-up loses no event: the
sweeper enqueues it again.

A worker need not poll for it: the script that enqueues a wake-up also adds the job to a set, from which one of the
workers that wait there takes it (`take_woken`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from pydantic_core import to_json

from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.keys import Keyspace

PARTITIONS = 8
"""Partitions of lanes: deliver jobs that can run at the same time in the whole fleet. A constant, because a lane's name
hashes to its partition.
"""

NOW = 1
"""Due time of an immediate wake-up: earlier than any worker's clock, even one that runs ahead."""

LIFETIME_MS = 24 * 3600 * 1000
"""Lifetime of a wake-up's payload at arq. The next event or sweep enqueues an expired wake-up again."""

_wake = Script("relay.store.driver", "wake")


class WakeUp(NamedTuple):
    """An arq job that starts a drain."""

    job_id: str
    payload: bytes
    """The job as arq stores it, in JSON (`serialize`)."""
    queue: str


def serialize(value: object) -> bytes:
    """Return `value` as JSON, for arq: a pickle would let any client that can write to Redis run code in the workers.

    arq also passes exceptions, of jobs that another worker has ended meanwhile; they are not stored.
    """
    return to_json(value, fallback=repr)


def _payload(function: str, *arguments: int) -> bytes:
    return serialize({"t": None, "f": function, "a": arguments, "k": {}, "et": NOW})


@cache
def route(key: Keyspace) -> WakeUp:
    """Return the wake-up of the router. There is only one, so that a topic keeps the order of acceptance."""
    return WakeUp(key.job_id("route"), _payload("route"), key.queue)


@cache
def replay(key: Keyspace) -> WakeUp:
    """Return the wake-up of the replayer, which advances all replays."""
    return WakeUp(key.job_id("replay"), _payload("replay"), key.slow_queue)


@cache
def react(key: Keyspace) -> WakeUp:
    """Return the wake-up of the reaction to account events of Linq's."""
    return WakeUp(key.job_id("react"), _payload("react"), key.slow_queue)


@cache
def grow(key: Keyspace) -> WakeUp:
    """Return the wake-up of the job that ends a growth to more shards."""
    return WakeUp(key.job_id("grow"), _payload("grow"), key.slow_queue)


@cache
def deliver(key: Keyspace, partition: int) -> WakeUp:
    """Return the wake-up of one partition's deliver job."""
    return WakeUp(key.job_id(f"deliver:{partition}"), _payload("deliver", partition), key.queue)


def partition_of_job(key: Keyspace, job_id: str) -> int | None:
    """Return the partition that the job delivers for; None for another job."""
    return next((partition for partition in range(PARTITIONS) if deliver(key, partition).job_id == job_id), None)


def partition_of(subscription: str) -> int:
    """Return the partition of a subscription's lane."""
    return crc32(subscription.encode()) % PARTITIONS


async def wake(redis: Redis, wakeup: WakeUp, due_ms: int = NOW) -> None:
    """Enqueue `wakeup`, for now or for a time (Unix milliseconds)."""
    await _wake(redis, [wakeup.queue], [wakeup.job_id, wakeup.payload, LIFETIME_MS, due_ms])


async def take_woken(redis: Redis, queue: str, timeout: float) -> str | None:
    """Take a job that a wake-up has just put into `queue`, waiting at most `timeout` seconds; None if there is none."""
    taken = await redis.bzpopmin([redis.key.woken(queue)], timeout)
    return None if taken is None else str(taken[1].decode())


async def next_deferred(redis: Redis, queue: str, now_ms: int) -> tuple[str, int] | None:
    """Return the job of `queue` that is due next after `now_ms`, and its due time; None if no job is deferred."""
    rows = await redis.zrangebyscore(queue, f"({now_ms}", "+inf", start=0, num=1, withscores=True)
    return (rows[0][0].decode(), int(rows[0][1])) if rows else None


async def withdraw(redis: Redis, wakeup: WakeUp) -> None:
    """Take a wake-up back whose work was done by another job, which must hold arq's lock on it meanwhile."""
    key, name = redis.key, wakeup.job_id.removeprefix(redis.key.job_id(""))
    async with redis.pipeline(transaction=True) as pipe:
        pipe.zrem(wakeup.queue, wakeup.job_id)
        pipe.delete(*(key.arq(prefix, name) for prefix in ("arq:job:", "arq:retry:")))
        await pipe.execute()
