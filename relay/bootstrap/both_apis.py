"""Everything that bootstrap keeps at Linq: v3's subscriptions, and v2's one where relay.toml has `[linq.v2]`.

What is missing from the environment for either is told before anything is changed; after that, trouble with one API
leaves the other in peace.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from relay.bootstrap.factory import open_reconciler
from relay.bootstrap.v2_reconcile import open_v2_reconciler
from relay.core.errors import LinqApiError, RelayError
from relay.store.driver.client import RedisTrouble, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconcile import AppliedStep, Reconciler
    from relay.bootstrap.status import Surveyed
    from relay.bootstrap.v2_reconcile import V2Reconciler
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FromBoth(Generic[T]):
    """What came of both APIs."""

    found: list[T]
    troubles: list[str]
    """What is wrong with an API from which nothing came."""


async def survey_both(settings: Settings, redis: Redis, config: RelayConfig) -> FromBoth[Surveyed]:
    """What is wanted and what is there, at each API. Raises as `_from_both`."""

    async def look(reconciler: Reconciler | V2Reconciler) -> list[Surveyed]:
        return [await reconciler.survey()]

    return await _from_both(settings, redis, config, look)


async def plan_both(settings: Settings, redis: Redis, config: RelayConfig) -> FromBoth[Step]:
    """The steps that `apply_both` would make. Raises as `_from_both`."""
    return await _from_both(settings, redis, config, lambda reconciler: reconciler.plan())


async def apply_both(
    settings: Settings, redis: Redis, config: RelayConfig, on_done: Callable[[AppliedStep], None]
) -> FromBoth[AppliedStep]:
    """Makes everything as it should be; `on_done` hears of each step. Raises as `_from_both`."""
    return await _from_both(settings, redis, config, lambda reconciler: reconciler.apply(on_done))


async def _from_both(
    settings: Settings,
    redis: Redis,
    config: RelayConfig,
    work: Callable[[Reconciler | V2Reconciler], Awaitable[list[T]]],
) -> FromBoth[T]:
    """What `work` finds at each API.

    Raises:
        SettingsError: something is missing from the environment, or wrong.
        LinqApiError, StoreError: there is but one API, and it or Redis is in trouble.
    """
    async with AsyncExitStack() as stack:
        v3 = await stack.enter_async_context(open_reconciler(settings, redis, config))
        if config.linq.v2 is None:
            return FromBoth(await work(v3), [])
        gathered: FromBoth[T] = FromBoth([], [])
        works: dict[str, Reconciler | V2Reconciler] = {"v3": v3}
        try:
            works["v2"] = await stack.enter_async_context(open_v2_reconciler(settings, redis, config))
        except LinqApiError as error:  # relay.toml asks it for nothing
            gathered.troubles.append(f"v2: {error}")
        for api, reconciler in works.items():
            try:
                gathered.found.extend(await work(reconciler))
            except (RelayError, *RedisTrouble) as error:
                gathered.troubles.append(f"{api}: {describe(error)}")
        return gathered
