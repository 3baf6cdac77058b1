"""Keeps our one subscription at Linq's v2 API as it should be.

The same moves as for v3, and fewer: the secret is of our choosing, so nothing is shown once and nothing has
generations, and no subscription is filtered by lines. A second one of ours goes, since Linq would deliver every event
twice. Whoever changes something holds the same lock as for v3, from the look to the last step.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from relay.bootstrap.desired import public_url_of, v2_events_asked_for
from relay.bootstrap.plan import INACTIVE, Action, Step, differing_events
from relay.bootstrap.reconcile import AppliedStep
from relay.core.errors import RelayError
from relay.core.event import Dialect, owner_of
from relay.core.secret import SigningSecret
from relay.linq.api.v2 import VERSION, open_linq_v2
from relay.linq.target_urls import is_our_v2_url, v2_url
from relay.parts import open_v2_secret_marker
from relay.store.driver.client import RedisTrouble, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from redis.asyncio import Redis

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v2 import LinqV2Api
    from relay.linq.api.v2_models import V2Subscription
    from relay.store.keyring.v2_secret_marker import V2SecretMarker

V2_NEEDS = ("relay_public_url", "relay_secret_key", "linq_v2_token", "linq_v2_webhook_secret")
"""The settings that `[linq.v2]` cannot do without."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class V2DesiredState:
    """What should be at Linq."""

    public_url: str
    events: frozenset[str]
    secret: SigningSecret


def make_v2_plan(wanted: V2DesiredState, existing: Iterable[V2Subscription], holder: int | None) -> list[Step]:
    """The steps in the order they should happen; `holder` is the id of the one that has our secret, if that is known.

    A subscription is ours if its URL is under our public URL and v2's path; every other is left alone.
    """
    url = v2_url(wanted.public_url)
    ours = [one for one in existing if is_our_v2_url(wanted.public_url, one.webhook_url)]
    if not ours:
        return [Step(Action.CREATE, None, 0, "there is no v2 subscription", url, dialect=Dialect.V2)]
    kept, *others = sorted(ours, key=lambda one: (one.id != holder, one.webhook_url != url, one.id))
    deletions = [_step(Action.DELETE, one, "Linq would deliver every event twice") for one in others]
    if difference := ", ".join(_differences(wanted, kept, holder)):
        return [_step(Action.UPDATE, kept, difference), *deletions]
    return [*deletions, _step(Action.KEEP, kept, "as it should be")]


@dataclass(frozen=True, slots=True)
class V2Survey:
    """What is wanted, and what is there."""

    wanted: V2DesiredState
    existing: Sequence[V2Subscription]
    """Every subscription at Linq's v2 API, ours and others'."""
    holder: int | None
    """The id of the one that has our secret, if that is known."""

    def plan(self, _now: float = 0.0) -> list[Step]:
        """The steps from what is there to what is wanted; nothing of v2's depends on the time."""
        return make_v2_plan(self.wanted, self.existing, self.holder)

    @property
    def owners(self) -> list[str]:
        """Whose subscriptions there should be."""
        return [owner_of(Dialect.V2, None)]

    @property
    def active(self) -> set[str]:
        """The ids of the subscriptions that Linq posts to."""
        return {str(one.id) for one in self.existing if one.active is not False}

    @property
    def foreign(self) -> int:
        """How many subscriptions of somebody else get the same events."""
        return sum(not is_our_v2_url(self.wanted.public_url, one.webhook_url) for one in self.existing)


class V2Reconciler:
    """Keeps it so."""

    def __init__(self, api: LinqV2Api, sent: V2SecretMarker, wanted: V2DesiredState) -> None:
        self._api = api
        self._sent = sent
        self._wanted = wanted

    async def survey(self) -> V2Survey:
        """What is wanted and what is there; changes nothing.

        Raises:
            LinqApiError: Linq did not answer as it should.
        """
        existing = await self._api.subscriptions()
        holder = await self._sent.holder(self._wanted.secret, (one.id for one in existing))
        return V2Survey(self._wanted, existing, holder)

    async def plan(self) -> list[Step]:
        """The steps that `apply` would make; changes nothing, and raises as `look`."""
        return (await self.survey()).plan()

    async def apply(self, on_done: Callable[[AppliedStep], None]) -> list[AppliedStep]:
        """Makes it as it should be; `on_done` hears of each step as it is over.

        Raises as `look`, and

        Raises:
            StoreError: somebody else has been at it for too long.
        """
        results: list[AppliedStep] = []
        async with self._sent.exclusively():
            for step in await self.plan():
                done = await self._carry_out(step)
                on_done(done)
                results.append(done)
                if done.error and step.action is Action.UPDATE:
                    break  # its twins stay: one of them may be what works
        return results

    async def _carry_out(self, step: Step) -> AppliedStep:
        if step.action is Action.KEEP:
            return AppliedStep(step)
        error = None
        try:
            await self._make(step)
        except (RelayError, *RedisTrouble) as trouble:
            error = describe(trouble)
        write = log.error if error else log.info
        write(
            "subscription.reconciled",
            api="v2",
            action=step.action,
            subscription=step.subscription_id,
            reason=step.reason,
            error=error,
        )
        return AppliedStep(step, error)

    async def _make(self, step: Step) -> None:
        if step.action is Action.DELETE:
            await self._api.delete(int(str(step.subscription_id)))
            return
        url, events, secret = v2_url(self._wanted.public_url), self._wanted.events, self._wanted.secret
        await self._sent.forget()
        if step.subscription_id is None:
            made = await self._api.create(url, events, secret)
        else:
            made = await self._api.update(int(step.subscription_id), url, events, secret)
        await self._sent.record(secret, made.id)


@asynccontextmanager
async def open_v2_reconciler(settings: Settings, redis: Redis, config: RelayConfig) -> AsyncIterator[V2Reconciler]:
    """The reconciler for the Linq and the Redis that `settings` name, and what relay.toml asks for.

    Raises:
        SettingsError: something in `V2_NEEDS` is missing, or the public URL does not fit that Linq.
        LinqApiError: relay.toml asks for nothing that the v2 API offers.
    """
    settings.require(*V2_NEEDS, because="relay.toml has [linq.v2]")
    assert settings.linq_v2_token is not None  # noqa: S101  it was just required
    assert settings.linq_v2_webhook_secret is not None  # noqa: S101  as above
    wanted = V2DesiredState(
        public_url_of(settings, settings.linq_v2_base_url),
        v2_events_asked_for(config),
        SigningSecret(settings.linq_v2_webhook_secret.get_secret_value()),
    )
    async with open_linq_v2(settings.linq_v2_token.get_secret_value(), settings.linq_v2_base_url) as api:
        yield V2Reconciler(api, open_v2_secret_marker(settings, redis), wanted)


def _differences(wanted: V2DesiredState, one: V2Subscription, holder: int | None) -> Iterator[str]:
    """What is not as it should be, in words."""
    if one.webhook_url != v2_url(wanted.public_url):
        yield "its URL has more than it should"
    yield from differing_events(one.events, wanted.events)
    if one.version not in {None, VERSION}:
        yield f"its version is not {VERSION}"
    if one.secret_configured is False:
        yield "without a secret"
    elif one.id != holder:
        yield "its secret may be another one"
    if one.active is False:
        yield INACTIVE


def _step(action: Action, one: V2Subscription, reason: str) -> Step:
    return Step(action, None, 0, reason, one.webhook_url, str(one.id), dialect=Dialect.V2)
