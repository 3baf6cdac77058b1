"""Checks of a relay with several shards: their number, the server of each, and how evenly they are spread and filled.

On a plain Redis the shards share the server, which is examined once. On a cluster each primary with a shard is; one
that cannot be reached is a finding of its own, and the others are still examined.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ByteSize
from redis.exceptions import AuthenticationError

from relay.core.errors import SettingsError
from relay.doctor.finding import Finding, ok, problem, warning
from relay.doctor.redis_checks import AREA as REDIS
from relay.doctor.redis_checks import Server, examine_server, examine_worker, named_shards
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.ledger.whole import of_each
from relay.store.rights.check import refusal
from relay.store.rights.explanation import explain
from relay.store.sharding.growth.state import read_growth
from relay.store.sharding.number import require_known_number
from relay.store.sharding.primaries import primaries_of
from relay.store.topics.retention import look_at_topics
from relay.store.topics.topics import topic_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis
    from relay.store.sharding.growth.state import Growth
    from relay.store.sharding.primaries import Primaries

AREA = "shards"
_UNEVEN = 2.0  # times the mean
_NOTABLE = 64 * 2**20  # bytes of topics on a shard, below which it does not matter


async def examine_number(redis: Redis) -> list[Finding]:
    """Return the finding about the number of shards; none with one shard, or if it cannot be read."""
    try:
        await require_known_number(redis)
        growth = await read_growth(redis)
    except SettingsError as error:
        [wrong] = error.problems
        what, _, remedy = wrong.message.partition(": ")
        return [problem(AREA, f"{wrong.place}: {what}", remedy)]
    except REDIS_ERRORS:
        return []
    if growth is not None and growth.what_is_next:
        return [_growing(growth)]
    return [ok(AREA, f"the relay has {len(redis.shards)} shards")] if redis.others else []


def _growing(growth: Growth) -> Finding:
    """Return the finding about a growth that is not done."""
    of = f"from {growth.former} to {growth.target} shards"
    if growth.is_decided:
        return warning(AREA, f"the relay grows {of}", growth.what_is_next)
    return warning(AREA, f"the growth {of} is prepared, and not applied", growth.what_is_next)


async def examine_shards(redis: Redis, settings: Settings, config: RelayConfig) -> list[Finding]:
    """Return the findings about the Redis of each shard, and about the shards as a whole.

    Raises the error of the client if the first shard cannot be reached.
    """
    spread: list[Finding] = []
    if redis.key.is_tagged:
        primaries = await primaries_of(redis)
        names = dict.fromkeys(primaries.of_shards)
        looks = await asyncio.gather(*(_look(redis, primaries.of_shards, name, settings) for name in names))
        spread = spread_findings(primaries)
    else:
        looks = [await examine_server(redis, settings)]
    findings = [finding for look in looks for finding in look.findings] + spread
    findings += await _rights(redis)
    try:
        findings += await examine_worker(redis, any(look.is_full for look in looks), settings)
        findings += fill_findings(await of_each(redis, lambda shard: _bytes_of(shard, config)))
    except REDIS_ERRORS as error:
        remedy = "see the findings about the others; then run it again"
        findings.append(problem(AREA, f"not all can be read: {describe(error)}", remedy))
    return findings


async def _look(redis: Redis, servers: Sequence[str], name: str, settings: Settings) -> Server:
    """Examine one of the primaries, with the first of the shards that it has."""
    numbers = [number for number, server in enumerate(servers) if server == name]
    area = f"{REDIS} {name} ({named_shards(numbers)})" if name else f"{REDIS} ({named_shards(numbers)})"
    try:
        server = await examine_server(redis.shards[numbers[0]], settings)
    except AuthenticationError as error:
        return Server([problem(area, *explain(error))], is_full=False)
    except REDIS_ERRORS as error:
        what = f"{describe(error)}: events of its chats get 503, and are not delivered"
        return Server([problem(area, what, "repair this primary, or let a replica take over")], is_full=False)
    return Server([replace(each, area=area) for each in server.findings], server.is_full)


async def _rights(redis: Redis) -> list[Finding]:
    """Return a finding for each shard where the user may do less than on the first one: each primary has its own users.

    A user who may not do all there is a viewer's, about which nothing is known.
    """
    findings: list[Finding] = []
    with suppress(*REDIS_ERRORS):
        if await refusal(redis) is not None:
            return []
    for number, shard in enumerate(redis.others, 1):
        with suppress(*REDIS_ERRORS):
            if (why := await refusal(shard, redis)) is not None:
                what, _, remedy = why.partition("; ")
                findings.append(problem(AREA, f"shard {number} refuses the relay: {what}", remedy))
    return findings


def spread_findings(primaries: Primaries) -> list[Finding]:
    """Return the finding about the spread of the shards over the primaries. Pure."""
    numbers = {name: [n for n, of in enumerate(primaries.of_shards) if of == name] for name in primaries.all}
    told = "; ".join(f"{name} has {named_shards(found)}" for name, found in numbers.items())
    most, least = (choose(numbers, key=lambda name: len(numbers[name])) for choose in (max, min))
    if len(numbers[most]) - len(numbers[least]) < 2:
        return [ok(AREA, f"{len(primaries.of_shards)} are spread over {len(numbers)} primaries: {told}")]
    number = numbers[most][-1]
    remedy = f"move slot {primaries.slots[number]}, of shard {number}, to {least}: deploy/docs/redis.md, Redis Cluster"
    return [warning(AREA, f"they are spread unevenly over {len(numbers)} primaries: {told}", remedy)]


def fill_findings(sizes: Sequence[int]) -> list[Finding]:
    """Return the finding about what the topics take on each shard, bytes; none without topics. Pure."""
    if not (total := sum(sizes)):
        return []
    mean, fullest = total / len(sizes), max(range(len(sizes)), key=sizes.__getitem__)
    share = f"{sizes[fullest] / total:.0%} of {ByteSize(total).human_readable()}"
    if sizes[fullest] < _NOTABLE or sizes[fullest] <= _UNEVEN * mean:
        return [ok(AREA, f"shard {fullest} has the most of the topics, {share}")]
    what = f"shard {fullest} has {share} of topics: there they reach their sizes, and Redis its memory, first"
    remedy = "one chat or number has most events, and stays on one shard; raise size of the topics, and its memory"
    return [warning(AREA, what, remedy)]


async def _bytes_of(shard: Redis, config: RelayConfig) -> int:
    looks = await look_at_topics(shard, await topic_names(shard, config.topic_names))
    return sum(max(look.size, 0) for look in looks.values())
