"""Faults of a Redis Cluster: slots that move, and servers that are restarted one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.cluster_redis import ClusterRedis

if TYPE_CHECKING:
    import random

    from tests.chaos.stage import Stage


async def move_slot(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    """Move the slot of a shard to another primary, key by key."""
    source, target = await _cluster_of(stage).move()
    return (f"{source} to {target}",)


async def half_move_slot(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
    """Move half of the keys of a slot, and later the others; sometimes the slot then returns."""
    returns = dice.random() < 1 / 2
    source, target = await _cluster_of(stage).move(pause=seconds, returns=returns)
    return (f"{source} to {target}", *(("and back",) if returns else ()))


async def roll_redis(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    """Restart every server of the cluster; before a primary is, its replica takes its place."""
    cluster = _cluster_of(stage)
    await cluster.restart_all()
    return tuple(map(str, cluster.cluster.ports))


def _cluster_of(stage: Stage) -> ClusterRedis:
    assert isinstance(stage.redis, ClusterRedis), "the catalog has these faults for a cluster only"
    return stage.redis
