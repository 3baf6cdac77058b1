"""Reconcile both of Linq's APIs: the v3 subscriptions of each account, and the one of v2 with `[linq.v2]`.

With `[linq.v2]` and without a key for v3, only v2 is reconciled, and the result says so.
Variables missing for either API are reported before anything is changed; after that, a failure of one API does not stop
the other.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from relay.bootstrap.deletions import Approval
from relay.bootstrap.factory import open_accounts
from relay.bootstrap.needs import V2_NEEDS, needs_of
from relay.bootstrap.reconciling.v2 import open_v2_reconciler
from relay.core.errors import LinqApiError, RelayError
from relay.core.event import Dialect, source_name
from relay.core.patterns import matches
from relay.linq.payloads.event_types import V2_TYPES, in_both_apis
from relay.rules.cipher import cipher_of
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.lock import log_waiting
from relay.store.stored_subscriptions.hash import StoredSubscriptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconciling.v2 import V2Reconciler
    from relay.bootstrap.reconciling.v3 import AppliedStep, Reconciler
    from relay.bootstrap.status import Surveyed
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

log = structlog.get_logger()
T = TypeVar("T")

V2_ONLY = (
    "LINQ_API_V3_API_KEY is not set: only the v2 subscription of [linq.v2] is maintained, and no line is registered at "
    "the v3 API"
)


@dataclass(frozen=True, slots=True)
class FromBoth(Generic[T]):
    """The results of both APIs."""

    found: list[T]
    errors: list[str]
    """The errors of an API without results."""
    notes: list[str] = field(default_factory=list)
    """Sentences about APIs that were left out, and about faults to be corrected by hand."""


async def survey_both(settings: Settings, redis: Redis, config: RelayConfig) -> FromBoth[Surveyed]:
    """Return the desired and the actual state at each API. Raises as `_from_both`."""

    async def survey(reconciler: Reconciler | V2Reconciler) -> list[Surveyed]:
        return [await reconciler.survey()]

    return await _from_both(settings, redis, config, survey)


async def plan_both(
    settings: Settings, redis: Redis, config: RelayConfig, *, take_over: bool = False
) -> FromBoth[Step]:
    """Return the steps that `apply_both` would take. Raises as `_from_both`."""
    return await _from_both(settings, redis, config, lambda reconciler: reconciler.plan(take_over=take_over))


async def apply_both(  # noqa: PLR0913  as `Reconciler.apply`, and where
    settings: Settings,
    redis: Redis,
    config: RelayConfig,
    on_done: Callable[[AppliedStep], None],
    approval: Approval = Approval.COMMAND,
    on_wait: Callable[[str], None] = log_waiting,
    *,
    take_over: bool = False,
) -> FromBoth[AppliedStep]:
    """Bring both APIs to the desired state; `on_done` is called with each finished step.

    `take_over` replaces also what another relay may have made. Raises as `_from_both`, and

    Raises:
        AnotherRelay: only v3 is configured, and it has subscriptions that may be another relay's.
    """

    async def apply(reconciler: Reconciler | V2Reconciler) -> list[AppliedStep]:
        return await reconciler.apply(on_done, approval=approval, on_wait=on_wait, take_over=take_over)

    results = await _from_both(settings, redis, config, apply)
    await _encrypt_again(settings, redis)
    return results


async def _encrypt_again(settings: Settings, redis: Redis) -> None:
    """Encrypt with the newest key also the secrets of subscriptions made by the API, as those of Linq's are."""
    if (cipher := cipher_of(settings)) is None:
        return
    try:
        count = await StoredSubscriptions(redis).encrypt_again(cipher)
    except REDIS_ERRORS as error:
        log.warning("subscriptions.not_encrypted", error=describe(error), note="the next run encrypts them again")
    else:
        if count:
            log.info("subscriptions.encrypted", subscriptions=count)


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
        gathered: FromBoth[T] = FromBoth([], [])
        works: dict[str, Reconciler | V2Reconciler] = {}
        if is_v2_only(settings, config):
            gathered.notes.append(V2_ONLY)
        else:
            settings.require(*needs_of(config), because="every line has a subscription at Linq's v3 API")
            accounts = await stack.enter_async_context(open_accounts(settings, redis, config))
            works |= {source_name(Dialect.V3, account.name): account.reconciler for account in accounts}
        if config.linq.v2 is None and len(works) == 1:
            (reconciler,) = works.values()
            found = await work(reconciler)
            return FromBoth(found, [], reconciler.notes)
        try:
            if config.linq.v2 is not None:
                works["v2"] = await stack.enter_async_context(open_v2_reconciler(settings, redis, config))
        except LinqApiError as error:  # relay.toml subscribes to none of its event types
            gathered.errors.append(f"v2: {error}")
        for api, reconciler in works.items():
            try:
                gathered.found.extend(await work(reconciler))
            except (RelayError, *REDIS_ERRORS) as error:
                gathered.errors.append(f"{api}: {describe(error)}")
            gathered.notes.extend(reconciler.notes)
        return gathered


def is_v2_only(settings: Settings, config: RelayConfig) -> bool:
    """Return True if relay.toml has `[linq.v2]`, and there is no key for the v3 API."""
    return config.linq.v2 is not None and settings.linq_api_v3_api_key is None and not config.linq.accounts


def doubled(settings: Settings, config: RelayConfig) -> list[str]:
    """Return a sentence about the topics in which a message is two entries, since both APIs are on; none if in none."""
    if config.linq.v2 is None or settings.linq_api_v3_api_key is None:
        return []
    topics = [topic for topic in config.topics if topic.api is None and in_both_apis(topic.events)]
    readers = {topic.name: config.subscriptions_by_topic.get(topic.name, ()) for topic in topics}
    names = [name for name, found in readers.items() if not found or any(each.api is None for each in found)]
    if not names:
        return []
    where = f"the topic {names[0]}" if len(names) == 1 else f"the topics {', '.join(names)}"
    return [f'Linq\'s v3 and v2 are both on: a message is two entries of {where}; set api = "v3" or "v2" there']


def without_v2_events(settings: Settings, config: RelayConfig) -> list[str]:
    """Return the topics into which nothing comes if there is only v2, since it has none of their event types."""
    if not is_v2_only(settings, config):
        return []
    return [
        topic.name
        for topic in config.topics
        if not any(matches(pattern, event_type) for pattern in topic.events for event_type in V2_TYPES)
    ]


def missing_settings(settings: Settings, config: RelayConfig) -> list[str]:
    """Return the settings that the APIs in use need and that are not set."""
    needs = dict.fromkeys(V2_NEEDS if is_v2_only(settings, config) else needs_of(config))
    needs |= dict.fromkeys(V2_NEEDS if config.linq.v2 is not None else ())
    return [need for need in needs if getattr(settings, need) is None]
