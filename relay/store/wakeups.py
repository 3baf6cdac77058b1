"""Bells: how a drain job is woken.

A bell is an arq job with a fixed id, written in arq's own format by our scripts or by `ring`. It carries no event, only
says "look". Ringing one that hangs already does nothing. Lanes are spread over a fixed number of slots and a bell wakes
a slot, not a lane: arq looks at every job in flight on every poll, so there must be few of them however many lanes
there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from zlib import crc32

from pydantic_core import to_json

from relay.store import keys
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

SLOTS = 8
"""Drain jobs that can deliver at the same time, in the whole fleet. A constant: a lane belongs to the slot its name
hashes to.
"""

NOW = 1
"""The due time of a bell that is rung for now: earlier than any worker's clock, whichever runs ahead."""

LIFETIME_MS = 24 * 3600 * 1000
"""How long arq keeps the bell's payload. A bell nobody answered for that long is rung anew by the next event or sweep.
"""

_ring = Script("relay.store.driver", "wake")


@dataclass(frozen=True, slots=True)
class Bell:
    """The arq job that drains something."""

    job_id: str
    payload: bytes
    """The job as arq stores it, in JSON (`serialize`)."""
    queue: str = keys.QUEUE


def serialize(value: object) -> bytes:
    """Arq's job serializer here: JSON, since whoever can write a pickle into Redis could run code in the workers.

    arq hands it exceptions as well, of jobs that another worker has ended meanwhile; they are kept nowhere.
    """
    return to_json(value, fallback=repr)


def _payload(function: str, *arguments: int) -> bytes:
    return serialize({"t": None, "f": function, "a": arguments, "k": {}, "et": NOW})


ROUTE = Bell("relay:route", _payload("route"))
"""Wakes the router. There is one, so that a topic keeps the order in which events were accepted."""


REPLAY = Bell("relay:replay", _payload("replay"), keys.SLOW_QUEUE)
"""Wakes whoever moves the replays on, all of them: they are not in a hurry."""


@cache
def deliver(slot: int) -> Bell:
    """Wakes the deliverer of one slot's lanes."""
    return Bell(f"relay:deliver:{slot}", _payload("deliver", slot))


def slot_of_job(job_id: str) -> int | None:
    """The slot whose deliverer the job is; None for another job."""
    return next((slot for slot in range(SLOTS) if deliver(slot).job_id == job_id), None)


def slot_of(subscription: str) -> int:
    """The slot that a subscription's lane belongs to."""
    return crc32(subscription.encode()) % SLOTS


async def ring(redis: Redis, bell: Bell, due_ms: int = NOW) -> None:
    """Rings `bell`, now or at a time (Unix milliseconds)."""
    await _ring(redis, [bell.queue], [bell.job_id, bell.payload, LIFETIME_MS, due_ms])
