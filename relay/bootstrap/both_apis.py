"""Reconcile both of Linq's APIs: the v3 subscriptions, and the one of v2 where relay.toml has `[linq.v2]`.

Variables missing for either API are reported before anything is changed; after that, a failure of one API does not stop
the other.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from relay.bootstrap.deletions import Approval
from relay.bootstrap.factory import open_reconciler
from relay.bootstrap.v2_reconcile import open_v2_reconciler
from relay.core.errors import LinqApiError, RelayError
from relay.store.driver.client import RedisTrouble, describe
from relay.store.driver.lock import log_waiting

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
    """The results of both APIs."""

    found: list[T]
    troubles: list[str]
    """The errors of an API without results."""


async def survey_both(settings: Settings, redis: Redis, config: RelayConfig) -> FromBoth[Surveyed]:
    """Return the desired and the actual state at each API. Raises as `_from_both`."""

    async def survey(reconciler: Reconciler | V2Reconciler) -> list[Surveyed]:
        return [await reconciler.survey()]

    return await _from_both(settings, redis, config, survey)


async def plan_both(settings: Settings, redis: Redis, config: RelayConfig) -> FromBoth[Step]:
    """Return the steps that `apply_both` would take. Raises as `_from_both`."""
    return await _from_both(settings, redis, config, lambda reconciler: reconciler.plan())


async def apply_both(
    settings: Settings,
    redis: Redis,
    config: RelayConfig,
    on_done: Callable[[AppliedStep], None],
    approval: Approval = Approval.COMMAND,
    on_wait: Callable[[str], None] = log_waiting,
) -> FromBoth[AppliedStep]:
    """Bring both APIs to the desired state; `on_done` is called with each finished step. Raises as `_from_both`."""

    async def apply(reconciler: Reconciler | V2Reconciler) -> list[AppliedStep]:
        return await reconciler.apply(on_done, approval=approval, on_wait=on_wait)

    return await _from_both(settings, redis, config, apply)


async def _from_both(
    settings: Settings,
    redis: Redis,
    config: RelayConfig,
    work: Callable[[Reconciler | V2Reconciler], Awaitable[list[T]]],
) -> FromBoth[T]:
    """Return the results of `work` at each API.

    Raises:
        SettingsError: a variable is missing or wrong.
        LinqApiError, StoreError: only v3 is configured, and it or Redis failed.
    """
    async with AsyncExitStack() as stack:
        v3 = await stack.enter_async_context(open_reconciler(settings, redis, config))
        if config.linq.v2 is None:
            return FromBoth(await work(v3), [])
        gathered: FromBoth[T] = FromBoth([], [])
        works: dict[str, Reconciler | V2Reconciler] = {"v3": v3}
        try:
            works["v2"] = await stack.enter_async_context(open_v2_reconciler(settings, redis, config))
        except LinqApiError as error:  # relay.toml subscribes to none of its event types
            gathered.troubles.append(f"v2: {error}")
        for api, reconciler in works.items():
            try:
                gathered.found.extend(await work(reconciler))
            except (RelayError, *RedisTrouble) as error:
                gathered.troubles.append(f"{api}: {describe(error)}")
        return gathered
