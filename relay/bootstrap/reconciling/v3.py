"""Reconcile: survey Linq and the keyring, make the plan, and carry it out.

A secret is encrypted and stored before anything else happens with its subscription. If the process dies in between, the
next run finds a subscription of ours without a secret and replaces it. A run that changes something holds the
keyring's lock from the survey to the last step, so that two of them never work from the same survey.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from relay.bootstrap.deletions import LOOKS, Approval, hold_all, hold_back, needs_looks
from relay.bootstrap.desired import desired_state_of
from relay.bootstrap.ownership.rivals import refusal
from relay.bootstrap.plan import Action, DesiredState, Step, make_rotation
from relay.bootstrap.survey import Survey
from relay.core.errors import LinqApiError, RelayError, StoreError
from relay.process.tasks import in_background
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.lock import log_waiting
from relay.store.keyring.usable import usable_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from relay.bootstrap.looks import Looks
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v3 import LinqApi, ListedLine
    from relay.store.keyring.keyring import Keyring

_REPLACING = {Action.CREATE, Action.UPDATE}
_AT_ONCE = 8  # concurrent calls to Linq
_STORE_TRIES = 50
_STORE_PAUSE = 0.2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AppliedStep:
    """A step, and its error if it failed."""

    step: Step
    error: str | None = None


class Reconciler:
    """Bring Linq's subscriptions to the desired state."""

    def __init__(
        self,
        api: LinqApi,
        keyring: Keyring,
        looks: Looks,
        config: RelayConfig,
        public_url: str,
        clock: Callable[[], float],
    ) -> None:
        """`clock` returns Unix seconds."""
        self._api = api
        self._keyring = keyring
        self._looks = looks
        self._config = config
        self._public_url = public_url
        self._clock = clock
        self.notes: list[str] = []
        """Faults that the last survey found and no step repairs."""

    async def survey(self) -> Survey:
        """Return the desired and the actual state; change nothing.

        Raises:
            LinqApiError: Linq failed, or its response is not as documented.
            StoreError: stored secrets were encrypted with another RELAY_SECRET_KEY.
        """
        async with (
            in_background(desired_state_of(self._config, self._public_url, self._api)) as desired,
            in_background(self._api.subscriptions()) as existing,
        ):
            stored, unusable = await usable_secrets(self._keyring)
            account = self._keyring.account
            secrets = [record for record in stored if record.account == account]
            others = [record.subscription_id for record in stored if record.account != account]
            of_account = replace(await desired, tag=await self._keyring.owner_tag(), account=account)
            survey = Survey(of_account, await existing, secrets, unusable, others)
        await self._check_completeness(survey)
        self.notes = [
            f"{f'subscription {odd.subscription_id}' if odd.subscription_id else odd.owner}: {odd.what}"
            for odd in survey.malformed
        ]
        return survey

    async def lines(self) -> Collection[str]:
        """Return the lines that should have subscriptions. Raises as `survey`."""
        return (await desired_state_of(self._config, self._public_url, self._api)).lines

    async def listed_lines(self) -> list[ListedLine]:
        """Return the facts in Linq's list about each line of the account, also of those that relay.toml excludes.

        Raises:
            LinqApiError: Linq failed.
        """
        return await self._api.listed_lines()

    async def plan(self, *, take_over: bool = False) -> list[Step]:
        """Return the steps that `apply` would take; change nothing. Raises as `survey`."""
        survey = await self.survey()
        steps = hold_back(survey.plan(self._clock()), await self._looks.counts(), Approval.COMMAND)
        if survey.rivals and not take_over:
            self.notes.append(str(refusal(self._public_url, survey.rivals)))
            return hold_all(steps)
        return steps

    async def look(self, survey: Survey) -> None:
        """Record a look at Linq that an `apply` does not follow."""
        await self._looked(survey.plan(self._clock()))

    async def confirm(self, survey: Survey, released: Collection[str]) -> None:
        """Record that no more looks are needed for those of the `released` lines that Linq does not list."""
        steps = [step for step in survey.plan(self._clock()) if step.is_unlisted and step.line in released]
        await self._looks.agree([str(step.subscription_id) for step in steps], LOOKS)

    async def apply(
        self,
        on_done: Callable[[AppliedStep], None],
        only: Callable[[Step], bool] = lambda _: True,
        approval: Approval = Approval.COMMAND,
        on_wait: Callable[[str], None] = log_waiting,
        *,
        take_over: bool = False,
    ) -> list[AppliedStep]:
        """Carry out the steps to the desired state, or those of them that `only` selects and `approval` allows.

        A step that fails does not stop the others; `on_done` is called with each finished one, and `on_wait` if another
        run holds the lock. `take_over` replaces also what another relay may have made. Raises as `survey`, and

        Raises:
            StoreError: another run has held the lock for too long.
            AnotherRelay: subscriptions may be another relay's, and are not to be taken over.
        """
        async with self._keyring.exclusively(on_wait):
            survey = await self._survey_to_change(take_over=take_over)
            steps = survey.plan(self._clock())
            is_told = approval is Approval.TOLD
            looks = await self._looks.counts() if is_told else await self._looked(steps)
            steps = hold_back(steps, looks, approval)
            results = await self.carry_out(survey.desired, [step for step in steps if only(step)], on_done)
            await self.tidy(survey, results)
        return results

    async def _survey_to_change(self, *, take_over: bool = False) -> Survey:
        """Return a survey whose steps may be carried out. The owner tag is stored before a URL has it."""
        await self._keyring.make_owner_tag()
        survey = await self.survey()
        if survey.rivals and not take_over:
            raise refusal(self._public_url, survey.rivals)
        return survey

    async def _looked(self, steps: Sequence[Step]) -> dict[str, int]:
        return await self._looks.record({str(step.subscription_id) for step in steps if needs_looks(step)})

    async def _check_completeness(self, survey: Survey) -> None:
        """Check that Linq's list has each subscription whose secret is in use, or that Linq no longer has it.

        Raises:
            LinqApiError: the list is incomplete.
        """
        listed = {subscription.id for subscription in survey.existing}
        unlisted = [record for record in survey.secrets if record.retire_at is None]
        unlisted = [record for record in unlisted if record.subscription_id not in listed]
        exist = await asyncio.gather(*(self._api.exists(record.subscription_id) for record in unlisted))
        left_out = [record.line or "the account" for record, exists in zip(unlisted, exist, strict=True) if exists]
        if left_out:
            raise LinqApiError(
                f"listing webhook subscriptions: Linq left out {len(left_out)} that exist (of {', '.join(left_out)}); "
                "nothing is changed on an incomplete list, try again later"
            )

    async def rotate(
        self,
        lines: Collection[str | None] | None,
        overlap: float,
        on_done: Callable[[AppliedStep], None],
        on_wait: Callable[[str], None] = log_waiting,
    ) -> list[AppliedStep]:
        """Give `lines` (None: every one, and the account) new secrets; the old ones stay valid for `overlap` seconds.

        Raises as `apply`, and

        Raises:
            StoreError: one of `lines` has no secret that could be rotated.
        """
        async with self._keyring.exclusively(on_wait):
            survey = await self._survey_to_change()
            owners = survey.desired.owners if lines is None else lines
            until = self._clock() + overlap
            steps = make_rotation(survey.desired, survey.existing, survey.secrets, owners, until)
            if unknown := [line for line in owners if line and line not in survey.desired.lines]:
                raise StoreError(f"{', '.join(unknown)}: not among the lines configured in [linq]")
            without = [line or "the account" for line in owners if line not in {step.line for step in steps}]
            if without:
                owners_named = ", ".join(without)
                raise StoreError(f"no secret in use to rotate for {owners_named}; run relay bootstrap apply first")
            return await self.carry_out(survey.desired, steps, on_done)

    async def carry_out(
        self, desired: DesiredState, steps: Sequence[Step], on_done: Callable[[AppliedStep], None]
    ) -> list[AppliedStep]:
        """Carry out `steps`, several at once, in the order of their actions."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def carry_out(step: Step) -> AppliedStep:
            async with limit:
                done = await self._carry_out(desired, step)
            on_done(done)
            return done

        results: list[AppliedStep] = []
        failed: set[str | None] = set()
        for action in Action:
            batch = [s for s in steps if s.action is action and not _must_wait(s, desired, failed)]
            done = await asyncio.gather(*map(carry_out, batch))
            failed |= {applied.step.line for applied in done if action in _REPLACING and applied.error}
            results += done
        return results

    async def _carry_out(self, desired: DesiredState, step: Step) -> AppliedStep:
        error = None
        try:
            match step.action:
                case Action.CREATE:
                    await self._create(desired, step)
                case Action.UPDATE:
                    events = desired.events_of(step.line) | step.retained
                    url = step.target_url if step.is_moved else None
                    await self._api.update(str(step.subscription_id), sorted(events), step.line, url)
                case Action.RETIRE:
                    await self._keyring.retire(str(step.subscription_id), step.retire_at or self._clock())
                case Action.DELETE:
                    await self._api.delete(str(step.subscription_id))
                case Action.HOLD:
                    log.warning("subscription.held", line=step.line, subscription=step.subscription_id, why=step.reason)
                    return AppliedStep(step)
                case Action.KEEP:
                    return AppliedStep(step)
        except (RelayError, *REDIS_ERRORS) as caught:
            error = describe(caught)
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

    async def _create(self, desired: DesiredState, step: Step) -> None:
        subscription, secret = await self._api.create(step.target_url, sorted(desired.events_of(step.line)), step.line)
        # Linq will not show the secret again: a short failure of Redis must not lose it.
        for _ in range(_STORE_TRIES):
            try:
                await self._keyring.store(step.line, step.generation, subscription.id, secret, self._clock())
            except REDIS_ERRORS:
                await asyncio.sleep(_STORE_PAUSE)
            else:
                return
        owner = step.line or "the account"
        raise StoreError(f"Redis did not take the secret of {owner}; the next apply replaces this subscription")

    async def tidy(self, survey: Survey, results: Sequence[AppliedStep]) -> None:
        """Let go of the secrets of subscriptions that are gone from Linq."""
        at_linq = {subscription.id for subscription in survey.existing}
        at_linq -= {
            str(done.step.subscription_id) for done in results if done.step.action is Action.DELETE and not done.error
        }
        strays = {subscription.id for subscription in survey.existing} & {*survey.of_other_accounts}
        gone = {*(record.subscription_id for record in survey.secrets), *survey.unusable, *strays} - at_linq
        try:
            await self._keyring.tidy(gone, self._clock())
        except REDIS_ERRORS as error:
            log.warning("keyring.cleanup_failed", error=str(error), note="the next run removes them")


def _must_wait(step: Step, desired: DesiredState, failed: Collection[str | None]) -> bool:
    """Return True if a subscription must stay because its replacement could not be created or updated.

    That of a line that is no longer wanted stays if any failed: the failed line may be a mistyped one for it.
    """
    goes = step.action in {Action.RETIRE, Action.DELETE}
    return goes and bool(failed) and (step.line in failed or step.line not in desired.owners)
