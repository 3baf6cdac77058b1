"""Everything that bootstrap keeps at Linq: v3's subscriptions, and v2's one where relay.toml has `[linq.v2]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.bootstrap.open import open_reconciler
from relay.bootstrap.v2 import open_v2_reconciler

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconcile import Done
    from relay.bootstrap.status import Surveyed
    from relay.core.config import RelayConfig
    from relay.settings import Settings


async def look_at_everything(settings: Settings, redis: Redis, config: RelayConfig) -> list[Surveyed]:
    """What is wanted and what is there, at each API; raises as the reconcilers' `look`."""
    async with open_reconciler(settings, redis, config) as reconciler:
        surveys: list[Surveyed] = [await reconciler.look()]
    if config.linq.v2 is not None:
        async with open_v2_reconciler(settings, redis, config) as v2:
            surveys.append(await v2.look())
    return surveys


async def plan_everything(settings: Settings, redis: Redis, config: RelayConfig) -> list[Step]:
    """The steps that `apply_everything` would make; raises as the reconcilers' `plan`."""
    async with open_reconciler(settings, redis, config) as reconciler:
        steps = await reconciler.plan()
    if config.linq.v2 is not None:
        async with open_v2_reconciler(settings, redis, config) as v2:
            steps += await v2.plan()
    return steps


async def apply_everything(
    settings: Settings, redis: Redis, config: RelayConfig, on_done: Callable[[Done], None]
) -> list[Done]:
    """Makes everything as it should be; raises as the reconcilers' `apply`."""
    async with open_reconciler(settings, redis, config) as reconciler:
        results = await reconciler.apply(on_done)
    if config.linq.v2 is not None:
        async with open_v2_reconciler(settings, redis, config) as v2:
            results += await v2.apply(on_done)
    return results
