"""Reconciling: looks at Linq and at the keyring, makes the plan, and carries it out.

A secret is sealed and stored before anything else happens with its subscription. Should we die between the two, the
next run finds a subscription of ours without a secret and replaces it. Whoever changes something holds the keyring's
lock from the look to the last step, so that two of them never work from the same picture.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from relay.bootstrap.desired import desired_state_of
from relay.bootstrap.plan import Action, DesiredState, Step, make_plan, make_rotation
from relay.core.errors import RelayError, StoreError
from relay.core.event import Dialect, owner_of
from relay.linq.target_urls import our_target
from relay.process.tasks import in_background
from relay.store import keys
from relay.store.driver.client import RedisTrouble, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v3 import LinqApi, LinqSubscription
    from relay.store.keyring.keyring import KeyRecord, Keyring

_REPLACING = {Action.CREATE, Action.UPDATE}
_AT_ONCE = 8  # calls to Linq under way at the same time
_STORE_TRIES = 50
_STORE_PAUSE = 0.2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AppliedStep:
    """One step and how it went."""

    step: Step
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What is wanted, and what is there."""

    wanted: DesiredState
    existing: Sequence[LinqSubscription]
    """Every subscription at Linq, ours and others'."""
    secrets: Sequence[KeyRecord]

    def plan(self, now: float) -> list[Step]:
        """The steps from what is there to what is wanted; `now` is Unix seconds."""
        return make_plan(self.wanted, self.existing, self.secrets, now)

    @property
    def owners(self) -> list[str]:
        """Whose subscriptions there should be: the lines', and the account's if there is to be one."""
        return [owner_of(Dialect.V3, line) for line in self.wanted.owners]

    @property
    def active(self) -> set[str]:
        """The ids of the subscriptions that Linq posts to."""
        return {one.id for one in self.existing if one.is_active}

    @property
    def foreign(self) -> int:
        """How many subscriptions of somebody else get the same lines' events."""
        return sum(self._is_foreign(one) for one in self.existing)

    def _is_foreign(self, one: LinqSubscription) -> bool:
        shares = not one.phone_numbers or not one.phone_numbers.isdisjoint(self.wanted.lines)
        return shares and our_target(self.wanted.public_url, one.target_url) is None


class Reconciler:
    """Keeps Linq's subscriptions as they should be."""

    def __init__(
        self, api: LinqApi, keyring: Keyring, config: RelayConfig, public_url: str, clock: Callable[[], float]
    ) -> None:
        """`clock` gives Unix seconds."""
        self._api = api
        self._keyring = keyring
        self._config = config
        self._public_url = public_url
        self._clock = clock

    async def survey(self) -> Survey:
        """What is wanted and what is there; changes nothing.

        Raises:
            LinqApiError: Linq did not answer as it should.
            StoreError: stored secrets cannot be opened with this RELAY_SECRET_KEY.
        """
        async with (
            in_background(desired_state_of(self._config, self._public_url, self._api)) as wanted,
            in_background(self._api.subscriptions()) as existing,
        ):
            secrets = await self._secrets()
            return Survey(await wanted, await existing, secrets)

    async def plan(self) -> list[Step]:
        """The steps that `apply` would make; changes nothing, and raises as `look`."""
        return (await self.survey()).plan(self._clock())

    async def apply(
        self, on_done: Callable[[AppliedStep], None], only: Callable[[Step], bool] = lambda _: True
    ) -> list[AppliedStep]:
        """Makes Linq's subscriptions as they should be, or as far as the steps go that `only` lets pass.

        Goes on past a step that fails; `on_done` hears of each as it is over. Raises as `look`, and

        Raises:
            StoreError: somebody else has been at it for too long.
        """
        async with self._keyring.exclusively():
            survey = await self.survey()
            results = await self.carry_out(
                survey.wanted, [step for step in survey.plan(self._clock()) if only(step)], on_done
            )
            await self._tidy(survey, results)
        return results

    async def rotate(
        self, lines: Collection[str | None] | None, overlap: float, on_done: Callable[[AppliedStep], None]
    ) -> list[AppliedStep]:
        """Gives `lines` (None: every one, and the account) new secrets; the old ones live on for `overlap` seconds.

        Raises as `apply`, and

        Raises:
            StoreError: one of `lines` has no secret that could be rotated.
        """
        async with self._keyring.exclusively():
            survey = await self.survey()
            owners = survey.wanted.owners if lines is None else lines
            until = self._clock() + overlap
            steps = make_rotation(survey.wanted, survey.existing, survey.secrets, owners, until)
            if strangers := [line for line in owners if line and line not in survey.wanted.lines]:
                raise StoreError(f"{', '.join(strangers)}: no line that is to be registered here")
            without = [line or "the account" for line in owners if line not in {step.line for step in steps}]
            if without:
                raise StoreError(
                    f"no secret in use to rotate for {', '.join(without)}: run relay bootstrap apply first"
                )
            return await self.carry_out(survey.wanted, steps, on_done)

    async def carry_out(
        self, wanted: DesiredState, steps: Sequence[Step], on_done: Callable[[AppliedStep], None]
    ) -> list[AppliedStep]:
        """Makes `steps`, several at once, in the order of their actions."""
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def carry_out(step: Step) -> AppliedStep:
            async with at_once:
                done = await self._carry_out(wanted, step)
            on_done(done)
            return done

        results: list[AppliedStep] = []
        failed: set[str | None] = set()
        for action in Action:
            batch = [s for s in steps if s.action is action and not _has_to_wait(s, wanted, failed)]
            done = await asyncio.gather(*map(carry_out, batch))
            failed |= {one.step.line for one in done if action in _REPLACING and one.error}
            results += done
        return results

    async def _carry_out(self, wanted: DesiredState, step: Step) -> AppliedStep:
        error = None
        try:
            match step.action:
                case Action.CREATE:
                    await self._create(wanted, step)
                case Action.UPDATE:
                    await self._api.update(str(step.subscription_id), sorted(wanted.events_of(step.line)), step.line)
                case Action.RETIRE:
                    await self._keyring.retire(str(step.subscription_id), step.retire_at or self._clock())
                case Action.DELETE:
                    await self._api.delete(str(step.subscription_id))
                case Action.KEEP:
                    return AppliedStep(step)
        except (RelayError, *RedisTrouble) as trouble:
            error = describe(trouble)
        except Exception as bug:  # it must not leave the other steps half done
            log.exception("subscription.error", line=step.line, action=step.action)
            error = f"{type(bug).__name__}: {bug}"
        write = log.error if error else log.info
        write(
            "subscription.reconciled",
            action=step.action,
            line=step.line,
            generation=step.generation,
            subscription=step.subscription_id,
            reason=step.reason,
            error=error,
        )
        return AppliedStep(step, error)

    async def _create(self, wanted: DesiredState, step: Step) -> None:
        subscription, secret = await self._api.create(step.target_url, sorted(wanted.events_of(step.line)), step.line)
        # Linq will not show the secret again: a short trouble with Redis must not cost it.
        for _ in range(_STORE_TRIES):
            try:
                await self._keyring.store(step.line, step.generation, subscription.id, secret, self._clock())
            except RedisTrouble:
                await asyncio.sleep(_STORE_PAUSE)
            else:
                return
        owner = step.line or "the account"
        raise StoreError(f"Redis did not take the secret of {owner}; the next apply replaces this subscription")

    async def _tidy(self, survey: Survey, results: Sequence[AppliedStep]) -> None:
        at_linq = {subscription.id for subscription in survey.existing}
        at_linq -= {
            str(done.step.subscription_id) for done in results if done.step.action is Action.DELETE and not done.error
        }
        gone = {record.subscription_id for record in survey.secrets} - at_linq
        try:
            await self._keyring.tidy(gone, self._clock())
        except RedisTrouble as error:
            log.warning("keyring.cleanup_failed", error=str(error), note="the next run tidies it")

    async def _secrets(self) -> list[KeyRecord]:
        """The stored secrets, each of which can be opened.

        Replacing those that cannot would take the right ones away from an ingress that has the right key.
        """
        records = await self._keyring.records()
        closed = sorted({record.line or "account" for record in records if not self._can_open(record)})
        if closed:
            raise StoreError(
                f"the stored secrets of {', '.join(closed)} were sealed with another RELAY_SECRET_KEY: use that one, "
                f"or give it in RELAY_SECRET_KEY_OLD; if it is lost, delete {keys.KEYRING} from Redis and apply again "
                "to replace them"
            )
        return records

    def _can_open(self, record: KeyRecord) -> bool:
        try:
            self._keyring.open(record)
        except StoreError:
            return False
        return True


def _has_to_wait(step: Step, wanted: DesiredState, failed: Collection[str | None]) -> bool:
    """Whether a subscription has to stay because one that should take over could not be made or set right.

    That of a line that is no longer wanted stays if any failed: it may be the one that a mistyped line stands for.
    """
    goes = step.action in {Action.RETIRE, Action.DELETE}
    return goes and bool(failed) and (step.line in failed or step.line not in wanted.owners)
