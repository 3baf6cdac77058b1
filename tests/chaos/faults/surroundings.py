"""Faults around the relay: full at its start, name servers that are silent, connections that are held, and hostility.

They affect some parties and must not affect the others (`Stage.watched`, `tests.chaos.verdict`).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from relay.store import keys
from relay.store.driver.client import ask
from tests.chaos.events import body_of
from tests.chaos.gather import Owed, owed
from tests.chaos.linq import headers_of, path_of
from tests.chaos.records import HOLD_CONNECTIONS, SILENCE_DNS, TURN_HOSTILE
from tests.chaos.switches import HOLD, HOSTILE
from tests.chaos.teams import FAR, SHORT_SIZE, SHORT_TOPIC, TEAMS

if TYPE_CHECKING:
    import random

    from relay.store.driver.client import Redis
    from tests.chaos.stage import Stage

_GUARD = 1.5  # seconds until an ingress knows that Redis is full
_STANDSTILL = 60.0  # seconds: the start and the leases of killed workers take ten, much longer without CPU to spare
_MAX_DRAIN = 90.0  # seconds: Linq has to give up no event
_POLL = 0.5  # seconds
_HELD = 600  # connections
_GOOD = TEAMS[0]


async def start_full(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
    """End all workers, let events wait, and start workers while Redis is full: they deliver and trim what is there."""
    async with AsyncExitStack() as locks:
        workers = await stage.lock_all("worker", locks)
        is_crash = dice.random() < 1 / 2
        await asyncio.gather(*(worker.kill() if is_crash else stage.stop(worker) for worker in workers))
        await asyncio.sleep(seconds)
        redis = await locks.enter_async_context(stage.client())
        servers = await locks.enter_async_context(stage.servers())
        async with stage.full(servers):
            await asyncio.sleep(_GUARD)
            accepted = await _accepted(redis)
            await asyncio.gather(*(stage.start("worker") for _ in workers))
            if still := await _standing_still(redis):
                stage.evidence.append(f"workers that started on a full Redis left for {_STANDSTILL:.0f} s: {still}")
            if more := await _accepted(redis) - accepted:
                stage.evidence.append(f"{more} events were accepted while Redis was full")
    return (*(worker.name for worker in workers), "killed" if is_crash else "stopped")


async def _accepted(redis: Redis) -> int:
    return sum([int(await ask(shard.hget(shard.key.counts, "accepted")) or 0) for shard in redis.shards])


async def _standing_still(redis: Redis) -> str:
    """Wait until the work that can be done without memory is done; return the part of it that does not go on.

    How much waits depends on what the machine could do before, and how fast it goes on what else it does.
    """
    began = time.monotonic()
    moved: dict[str, tuple[Owed, float]] = {}
    while work := await _work(redis):
        now = time.monotonic()
        moved = {
            what: moved[what] if what in moved and moved[what][0] == left else (left, now)
            for what, left in work.items()
        }
        still = [f"{left.entries} {what}" for what, (left, since) in moved.items() if now - since > _STANDSTILL]
        if still or now - began > _MAX_DRAIN:
            return ", ".join(still)
        await asyncio.sleep(_POLL)
    return ""


async def _work(redis: Redis) -> dict[str, Owed]:
    """Return the work that can be done without memory, by kind and shard; of unread entries only if there are any."""
    found: dict[str, Owed] = {}
    size = 0
    for number, shard in enumerate(redis.shards):
        found[f"in the inbox of shard {number}"] = Owed(await shard.xlen(shard.key.inbox))
        group = keys.push_group(_GOOD.name)
        found[f"for the good team on shard {number}"] = await owed(shard, shard.key.topic(_GOOD.topic), group, page=1)
        size += int(await ask(shard.memory_usage(shard.key.topic(SHORT_TOPIC))) or 0)
    found["bytes to trim"] = Owed(max(size - 2 * SHORT_SIZE, 0))
    return {what: left for what, left in found.items() if left.entries}


async def silence_dns(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Give some teams' URLs new hosts, about which the name server is silent for a while."""
    with stage.silent_hosts() as hosts, stage.watched(SILENCE_DNS):
        await asyncio.sleep(seconds)
    return hosts


async def hold_connections(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
    """Hold connections to the ingresses, silent or with a half request; some subscribers hold their responses."""
    number = dice.randrange(stage.spec.events)
    body = body_of(number)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers_of(number).items())
    head = f"POST {path_of(number)} HTTP/1.1\r\nHost: relay\r\nContent-Length: {len(body)}\r\n{lines}".encode()
    starts = (b"", head[: len(head) // 2], head + b"\r\n" + body[: len(body) // 2])
    with stage.turned_on(HOLD):
        opened = []
        for _ in range(_HELD):
            with suppress(OSError):  # every ingress may be down for a moment
                opened.append(await asyncio.open_connection("127.0.0.1", stage.spec.ingress_port))
        try:
            for position, (_, writer) in enumerate(opened):
                writer.write(starts[position % len(starts)])
            with stage.watched(HOLD_CONNECTIONS):
                await asyncio.sleep(seconds)
            ended = sum(reader.at_eof() or writer.transport.is_closing() for reader, writer in opened)
        finally:
            for _, writer in opened:
                writer.transport.abort()
    return (f"{len(opened)} connections, of which the ingress ended {ended}", *FAR)


async def turn_hostile(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Have the hostile team, whose server other teams share, break HTTP in every way."""
    with stage.turned_on(HOSTILE), stage.watched(TURN_HOSTILE):
        await asyncio.sleep(seconds)
    return (HOSTILE,)
