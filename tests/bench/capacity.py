"""Capacity: the machines that a relay needs, from what an event costs each process: `python -m tests.bench.capacity`.

The costs are those that the bench measured at f84eafd, at full speed: then events share round trips. That machine was
about four times as fast as the one of results.md, by the same floor.
At low rates each costs up to five times as much, which is still little. With several shards fewer share one: 1.4 times
the CPU was measured with four, and more shards for each process approach the five times of an event by itself. The
table is that of deploy/docs/sizing.md.

How it is computed, for a rate that lasts:

    cores     = rate x CPU of an event; a process takes half of a core, so that peaks of twice the rate find room
    memory    = topics + ids of RELAY_DEDUPE_WINDOW + attempts (as on the page), and maxmemory = memory / 0.7
    shards    = the larger of cores of Redis / half a core, and maxmemory / 32 GB: more per server makes its restart,
                the copy for a new replica and its rewritten file long
    ingresses = cores / half a core, at least two
    workers   = cores / half a core, at least two; the router is one process for each shard
    relays    = more than one if there are more shards than a relay can have, or more deliveries than its partitions
                can make: each partition is one process at a time, however many workers there are

Not in it: replicas (each shard has one as large as its primary), the machines of subscribers, and an outage.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from relay.store.wakeups import PARTITIONS

MAX_SHARDS = 64
"""Shards of a relay (RELAY_SHARDS)."""
SHARE = 0.5
"""Part of a core that a process takes."""
SHARD_MEMORY = 32e9
"""maxmemory of a server, bytes."""
FILLED = 0.7
"""Part of maxmemory that is in use."""
_MICRO = 1e-6
_DAY = 86_400
_LEAST = 2  # processes of a kind, for restarts


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU time of an event in microseconds, and bytes of Redis's memory."""

    ingress: float = 39
    route: float = 18
    push: float = 59
    redis_accept: float = 10
    redis_topic: float = 10
    redis_push: float = 19
    redis_pull: float = 6
    """By `relay.consumer`, on a slower machine."""
    topic: int = 500
    """Bytes of an entry beside the body."""
    sharded: float = 1.4
    """Times as much CPU with several shards: each has batches of its own. Measured with four."""
    id: int = 170
    attempt: int = 240
    attempts: int = 8 * 2**20
    """Bytes of attempts that a subscription keeps at most."""


COSTS = Costs()


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events of a relay."""

    rate: float
    """Events a second."""
    days: float
    """Days for which topics keep them."""
    pushes: int = 0
    """Pushes of each event."""
    pulls: int = 0
    """Groups that read each event."""
    topics: int = 2
    """Topics of each event."""
    body: int = 1500
    """Bytes."""
    window: float = 0.25
    """RELAY_DEDUPE_WINDOW in days."""


class Machines(NamedTuple):
    """What the traffic needs."""

    relays: int
    shards: int
    """Of all relays."""
    memory: float
    """Bytes in use of all shards."""
    shard_memory: float
    """maxmemory of each shard, bytes."""
    ingresses: int
    workers: int
    subscriptions: int
    """Push subscriptions at least, for each of which one process delivers."""
    cores: float
    """CPU of all processes and servers, cores."""


def machines_for(traffic: Traffic, costs: Costs = COSTS) -> Machines:
    """Return the machines that the traffic needs."""
    found = _machines(traffic, costs, 1.0)
    return found if found.shards == found.relays else _machines(traffic, costs, costs.sharded)


def _machines(traffic: Traffic, costs: Costs, factor: float) -> Machines:
    """Return the machines if each event costs so many times the CPU."""
    rate = traffic.rate
    a_second = rate * factor * _MICRO
    pushing = a_second * traffic.pushes * costs.push
    routing, accepting = a_second * costs.route, a_second * costs.ingress
    redis = a_second * _redis_us(traffic, costs)
    subscriptions = ceil(pushing / SHARE)
    memory = _memory(traffic, costs, max(subscriptions, traffic.pushes))
    maximum = memory / FILLED
    shards = max(ceil(redis / SHARE), ceil(maximum / SHARD_MEMORY), ceil(routing / SHARE))
    relays = max(ceil(shards / MAX_SHARDS), ceil(subscriptions / PARTITIONS))
    shards = ceil(shards / relays) * relays
    return Machines(
        relays,
        shards,
        memory,
        maximum / shards,
        ingresses=max(ceil(accepting / SHARE), _LEAST * relays),
        workers=max(ceil((routing + pushing) / SHARE), _LEAST * relays),
        subscriptions=max(subscriptions, traffic.pushes),
        cores=accepting + routing + pushing + redis,
    )


def _redis_us(traffic: Traffic, costs: Costs) -> float:
    """Return the CPU time of Redis for an event, microseconds."""
    routed = traffic.topics * costs.redis_topic
    return costs.redis_accept + routed + traffic.pushes * costs.redis_push + traffic.pulls * costs.redis_pull


def _memory(traffic: Traffic, costs: Costs, subscriptions: int) -> float:
    """Return the memory of Redis that is in use, bytes."""
    a_day = traffic.rate * _DAY
    topics = a_day * traffic.topics * traffic.days * (traffic.body + costs.topic)
    attempts = min(a_day * traffic.pushes * 3 * costs.attempt, subscriptions * costs.attempts)
    return topics + a_day * traffic.window * costs.id + attempts


_HOUR = 1 / 24
TRAFFIC = (
    Traffic(10, 3, pushes=2),
    Traffic(100, 3, pushes=2),
    Traffic(1_000, 3, pushes=2),
    Traffic(1_000, 6 * _HOUR, pushes=2),
    Traffic(10_000, 6 * _HOUR, pushes=2),
    Traffic(10_000, _HOUR, pushes=2),
    Traffic(100_000, _HOUR, pushes=2),
    Traffic(100_000, _HOUR, pulls=2),
    Traffic(1_000_000, _HOUR, pushes=2),
    Traffic(1_000_000, _HOUR, pulls=2),
)
"""The rows of the table."""
_HEAD = (
    *("events/s", "kept", "each event", "relays", "shards", "memory of all", "`maxmemory` of a shard"),
    *("ingresses", "workers", "push subscriptions, at least", "cores in use"),
)


def table() -> list[str]:
    """Return the lines of the table in Markdown."""
    lines = [_HEAD, ("---:", "---", "---", *("---:" for _ in _HEAD[3:])), *map(_cells, TRAFFIC)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cells(traffic: Traffic) -> tuple[str, ...]:
    found = machines_for(traffic)
    hours = round(traffic.days * 24)
    kept = f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"
    each = f"pushed {traffic.pushes} times" if traffic.pushes else f"pulled {traffic.pulls} times"
    counts = (found.ingresses, found.workers)
    return (
        *(f"{traffic.rate:,.0f}", kept, each, f"{found.relays:,}", f"{found.shards:,}"),
        *(_bytes(found.memory), _bytes(found.shard_memory), *(f"{count:,}" for count in counts)),
        *(f"{found.subscriptions:,}" if traffic.pushes else "", _number(found.cores)),
    )


def _bytes(count: float) -> str:
    return f"{_number(count / 1e12)} TB" if count >= 1e12 else f"{_number(count / 1e9)} GB"


def _number(value: float) -> str:
    """Return a number with two digits, or all before the point."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
