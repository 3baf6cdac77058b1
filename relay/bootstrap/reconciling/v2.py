"""Reconcile our one subscription at Linq's v2 API.

The same steps as for v3, and fewer: we choose the secret, so nothing is shown only once and there are no generations,
and no subscription is filtered by lines. A second one of ours is deleted, since Linq would deliver every event twice.
A run that changes something holds the same lock as for v3, from the survey to the last step.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from relay.bootstrap.deletions import Approval, hold_back, needs_looks
from relay.bootstrap.desired import public_url_of, requested_v2_events
from relay.bootstrap.looks import Looks
from relay.bootstrap.needs import V2_NEEDS
from relay.bootstrap.plan import INACTIVE, Action, Step, differing_events
from relay.bootstrap.reconciling.v3 import AppliedStep
from relay.bootstrap.survey import malformed_subscriptions
from relay.core.errors import RelayError
from relay.core.event import Dialect, owner_of
from relay.core.secret import SigningSecret
from relay.linq.api.v2 import VERSION, open_linq_v2
from relay.linq.target_urls import is_our_v2_url, v2_url
from relay.parts import open_v2_secret_marker
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.lock import log_waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from relay.bootstrap.ownership.rivals import Rival
    from relay.bootstrap.status import Malformed
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v2 import LinqV2Api
    from relay.linq.api.v2_models import V2Subscription
    from relay.store.driver.client import Redis
    from relay.store.keyring.v2_secret_marker import V2SecretMarker

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class V2DesiredState:
    """The subscription that should exist at Linq."""

    public_url: str
    events: frozenset[str]
    secret: SigningSecret


def make_v2_plan(desired: V2DesiredState, existing: Iterable[V2Subscription], holder: int | None) -> list[Step]:
    """Return the steps in order; `holder` is the id of the subscription that has our secret, if that is known.

    A subscription is ours if its URL is under our public URL and v2's path; every other is left alone.
    """
    url = v2_url(desired.public_url)
    ours = [subscription for subscription in existing if is_our_v2_url(desired.public_url, subscription.webhook_url)]
    if not ours:
        return [Step(Action.CREATE, None, 0, "there is no v2 subscription", url, dialect=Dialect.V2)]
    kept, *others = sorted(ours, key=lambda each: (each.id != holder, each.webhook_url != url, each.id))
    deletions = [_step(Action.DELETE, subscription, "Linq would deliver every event twice") for subscription in others]
    if difference := ", ".join(_differences(desired, kept, holder)):
        return [_step(Action.UPDATE, kept, difference), *deletions]
    return [*deletions, _step(Action.KEEP, kept, "as it should be")]


@dataclass(frozen=True, slots=True)
class V2Survey:
    """The desired state, and the actual subscription."""

    desired: V2DesiredState
    existing: Sequence[V2Subscription]
    """Every subscription at Linq's v2 API, ours and others'."""
    holder: int | None
    """The id of the subscription that has our secret, if that is known."""

    def plan(self, _now: float = 0.0) -> list[Step]:
        """Return the steps from the actual state to the desired one; none of v2's depends on the time."""
        return make_v2_plan(self.desired, self.existing, self.holder)

    @property
    def owners(self) -> list[str]:
        """The owners that should have subscriptions."""
        return [owner_of(Dialect.V2, None)]

    @property
    def active(self) -> set[str]:
        """The ids of the subscriptions that Linq posts to."""
        return {str(subscription.id) for subscription in self.existing if subscription.active is not False}

    @property
    def malformed(self) -> list[Malformed]:
        """The subscriptions under our paths at which no event can be accepted."""
        rows = ((str(each.id), each.webhook_url, each.active is not False) for each in self.existing)
        return list(malformed_subscriptions(self.desired.public_url, rows))

    @property
    def rivals(self) -> list[Rival]:
        """None: the secret of v2's subscription is our choice, so nothing is lost with another relay's."""
        return []

    @property
    def foreign(self) -> int:
        """The number of subscriptions of others that get the same events."""
        others = [each for each in self.existing if not is_our_v2_url(self.desired.public_url, each.webhook_url)]
        return len(others) - len(self.malformed)


class V2Reconciler:
    """Bring the v2 subscription to the desired state."""

    def __init__(self, api: LinqV2Api, sent: V2SecretMarker, looks: Looks, desired: V2DesiredState) -> None:
        self._api = api
        self._sent = sent
        self._looks = looks
        self._desired = desired
        self.notes: list[str] = []
        """Faults that the last survey found and no step repairs."""

    async def survey(self) -> V2Survey:
        """Return the desired and the actual state; change nothing.

        Raises:
            LinqApiError: Linq failed, or its response is not as documented.
        """
        existing = await self._api.subscriptions()
        holder = await self._sent.holder(self._desired.secret, (subscription.id for subscription in existing))
        survey = V2Survey(self._desired, existing, holder)
        self.notes = [f"subscription {odd.subscription_id}: {odd.what}" for odd in survey.malformed]
        return survey

    async def plan(self, *, take_over: bool = False) -> list[Step]:  # noqa: ARG002  v2 has no rivals
        """Return the steps that `apply` would take; change nothing. Raises as `survey`."""
        return hold_back((await self.survey()).plan(), await self._looks.counts(), Approval.COMMAND)

    async def look(self, survey: V2Survey) -> None:
        """Record a look at Linq that an `apply` does not follow."""
        await self._looked(survey.plan())

    async def apply(
        self,
        on_done: Callable[[AppliedStep], None],
        approval: Approval = Approval.COMMAND,
        on_wait: Callable[[str], None] = log_waiting,
        *,
        take_over: bool = False,  # noqa: ARG002  v2 has no rivals
    ) -> list[AppliedStep]:
        """Carry out the steps to the desired state that `approval` allows.

        `on_done` is called with each finished one, and `on_wait` if another run holds the lock. Raises as `survey`, and

        Raises:
            StoreError: another run has held the lock for too long.
        """
        results: list[AppliedStep] = []
        async with self._sent.exclusively(on_wait):
            steps = (await self.survey()).plan()
            for step in hold_back(steps, await self._looked(steps), approval):
                done = await self._carry_out(step)
                on_done(done)
                results.append(done)
                if done.error and step.action is Action.UPDATE:
                    break  # its duplicates stay: one of them may work
        return results

    async def _looked(self, steps: Sequence[Step]) -> dict[str, int]:
        return await self._looks.record({str(step.subscription_id) for step in steps if needs_looks(step)})

    async def _carry_out(self, step: Step) -> AppliedStep:
        if step.action in {Action.KEEP, Action.HOLD}:
            return AppliedStep(step)
        error = None
        try:
            await self._make(step)
        except (RelayError, *REDIS_ERRORS) as caught:
            error = describe(caught)
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
        url, events, secret = v2_url(self._desired.public_url), self._desired.events, self._desired.secret
        await self._sent.forget()
        if step.subscription_id is None:
            made = await self._api.create(url, events, secret)
        else:
            made = await self._api.update(int(step.subscription_id), url, events, secret)
        await self._sent.record(secret, made.id)


@asynccontextmanager
async def open_v2_reconciler(
    settings: Settings, redis: Redis, config: RelayConfig, clock: Callable[[], float] = time.time
) -> AsyncIterator[V2Reconciler]:
    """Open a reconciler for the Linq and the Redis of `settings`, and the event types of relay.toml.

    `clock` returns Unix seconds.

    Raises:
        SettingsError: something in `V2_NEEDS` is missing, or Linq would not post to the public URL.
        LinqApiError: relay.toml requests no event type of the v2 API.
    """
    settings.require(*V2_NEEDS, because="relay.toml has [linq.v2]")
    assert settings.linq_v2_token is not None  # noqa: S101  it was just required
    assert settings.linq_v2_webhook_secret is not None  # noqa: S101  as above
    desired = V2DesiredState(
        public_url_of(settings, settings.linq_v2_base_url),
        requested_v2_events(config),
        SigningSecret(settings.linq_v2_webhook_secret.get_secret_value()),
    )
    async with open_linq_v2(settings.linq_v2_token.get_secret_value(), settings.linq_v2_base_url) as api:
        looks = Looks(redis, "v2", clock)
        yield V2Reconciler(api, open_v2_secret_marker(settings, redis), looks, desired)


def _differences(desired: V2DesiredState, subscription: V2Subscription, holder: int | None) -> Iterator[str]:
    """Describe how the subscription differs from the desired subscription."""
    if subscription.webhook_url != v2_url(desired.public_url):
        yield "its URL has more than it should"
    yield from differing_events(subscription.events, desired.events)
    if subscription.version not in {None, VERSION}:
        yield f"its version is not {VERSION}"
    if subscription.secret_configured is False:
        yield "without a secret"
    elif subscription.id != holder:
        yield "its secret may be another one"
    if subscription.active is False:
        yield INACTIVE


def _step(action: Action, subscription: V2Subscription, reason: str) -> Step:
    return Step(action, None, 0, reason, subscription.webhook_url, str(subscription.id), dialect=Dialect.V2)
