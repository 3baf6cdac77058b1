"""Faults of Redis: killed, stopped, slow, full, cut off, rewritten, or without something that an operator deleted."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.client import ask
from tests.chaos.teams import TEAMS
from tests.support import eventually

if TYPE_CHECKING:
    import random

    from tests.chaos.stage import Stage

_CUT_INTERVAL = 0.3  # seconds
_MAX_REWRITE = 60.0
_AFTER_REWRITE = 0.5  # seconds from the kill to the start
_CHOSEN = 3  # teams that lose a group or a consumer


async def kill_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Kill it and start it on the same data."""
    try:
        await stage.redis.kill()
        await asyncio.sleep(seconds)
    finally:
        await stage.redis.start()
    return ("redis",)


async def lose_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Kill a primary, which stays away for long after its replica took its place."""
    lost = stage.redis.target
    await stage.redis.lose(seconds)
    return (f"{lost} away",)


async def restart_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Stop it gracefully and start it on the same data."""
    try:
        await stage.redis.stop()
        await asyncio.sleep(seconds)
    finally:
        await stage.redis.start()
    return ("redis",)


async def rewrite_aof(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
    """Have it rewrite its append-only file, and kill it later: it starts from what the rewrite preserved."""
    async with stage.server(stage.redis.target) as redis:

        async def is_rewritten() -> bool:
            info = await ask(redis.info("persistence"))
            return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]

        await eventually(is_rewritten, _MAX_REWRITE)  # a replica that was synchronized rewrites its own
        await ask(redis.bgrewriteaof())  # type: ignore[no-untyped-call]
        await eventually(is_rewritten, _MAX_REWRITE)
    await asyncio.sleep(seconds)
    await kill_redis(stage, dice, _AFTER_REWRITE)
    return ("redis",)


async def stop_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Stop it with SIGSTOP, and continue it."""
    stage.redis.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        stage.redis.signal(signal.SIGCONT)
    await stage.redis.wait_until_healthy()
    return ("redis",)


async def sleep_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Have it sleep."""
    async with stage.server(stage.redis.target) as redis:
        await ask(redis.execute_command("DEBUG", "SLEEP", f"{seconds:.2f}"))  # type: ignore[no-untyped-call]
        await stage.redis.wait_until_healthy()
    return ("redis",)


async def fail_over(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    """Ask the Sentinels, or the replica of a primary in a cluster, for a failover."""
    await stage.redis.fail_over()
    return ("redis",)


async def cut_connections(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Close every connection, again and again."""
    cut, loop = 0, asyncio.get_running_loop()
    ends = loop.time() + seconds
    async with stage.servers() as servers:
        while loop.time() < ends:
            for server in servers:
                cut += await ask(server.client_kill_filter(_type="normal", skipme=True))
            await asyncio.sleep(_CUT_INTERVAL)
    return (f"{cut} connections",)


async def fill_memory(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Set `maxmemory` below what is in use; in a cluster of one primary."""
    async with stage.server(stage.redis.target) as redis, stage.full([redis]):
        await asyncio.sleep(seconds)
    return ("redis",)


async def flush_scripts(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    """Delete the cached scripts."""
    async with stage.servers() as servers:
        for server in servers:
            await server.script_flush()
    return ("redis",)


async def forget_preparation(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    """Delete the mark that all consumer groups exist."""
    async with stage.client() as redis:
        for shard in redis.shards:
            await shard.delete(shard.key.prepared)
        return tuple(shard.key.prepared for shard in redis.shards)


async def delete_lane_groups(stage: Stage, dice: random.Random, _: float) -> tuple[str, ...]:
    """Delete the consumer groups of some teams."""
    chosen = dice.sample(TEAMS, _CHOSEN)
    async with stage.client() as redis:
        for team, shard in product(chosen, redis.shards):
            with suppress(ResponseError):  # the stream does not exist yet
                await shard.xgroup_destroy(shard.key.topic(team.topic), keys.push_group(team.name))
    return tuple(team.name for team in chosen)


async def delete_consumers(stage: Stage, dice: random.Random, _: float) -> tuple[str, ...]:
    """Delete the consumers of some teams' groups, and with them their pending entries."""
    deleted: dict[str, int] = {}
    async with stage.client() as redis:
        for team, shard in product(dice.sample(TEAMS, len(TEAMS)), redis.shards):
            stream, group = shard.key.topic(team.topic), keys.push_group(team.name)
            if len(deleted) >= _CHOSEN and team.name not in deleted:
                break
            with suppress(ResponseError):  # the stream or the group does not exist yet
                if (await shard.xpending(stream, group))["pending"]:
                    count = await shard.xgroup_delconsumer(stream, group, keys.CONSUMER)
                    deleted[team.name] = deleted.get(team.name, 0) + count
    return (*deleted, f"{sum(deleted.values())} pending")
