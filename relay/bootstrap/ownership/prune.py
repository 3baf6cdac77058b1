"""Deletion of what a former RELAY_PUBLIC_URL left at Linq.

A subscription that does not lead to us any more is ours only if that can be proved: this Redis holds its secret, or it
carries our owner tag at a path of ours. Everything else is left alone, also the subscription that Linq puts into a new
account. A line keeps a subscription that was left behind until it has one under the present URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.bootstrap.plan import Action, Step
from relay.bootstrap.survey import Survey
from relay.linq.target_urls import fault_of_url, our_target, target_anywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from relay.bootstrap.factory import Account
    from relay.bootstrap.reconciling.v3 import AppliedStep
    from relay.bootstrap.status import Surveyed


def left_behind(survey: Survey, now: float) -> list[Step]:
    """Return a deletion for each subscription of ours that leads elsewhere; `HOLD` for one that is still needed.

    `now` is Unix seconds. Pure.
    """
    desired = survey.desired
    held = {record.subscription_id: record for record in survey.secrets}
    in_place = {step.line for step in survey.plan(now) if step.action in {Action.KEEP, Action.UPDATE}}
    steps: list[Step] = []
    for subscription in survey.existing:
        url = subscription.target_url
        if our_target(desired.public_url, url) is not None and not fault_of_url(desired.public_url, url):
            continue
        record, target = held.get(subscription.id), target_anywhere(url)
        has_tag = target is not None and desired.tag is not None and target.owner == desired.tag
        if record is None and not has_tag and subscription.id not in survey.unusable:
            continue
        line = record.line if record else target.line if target else None
        generation = record.generation if record else (target.generation or 0) if target else 0
        why = "our owner tag is in its URL" if has_tag else "its secret is stored here"
        reason, action = f"it does not lead to RELAY_PUBLIC_URL, and {why}", Action.DELETE
        if line in desired.owners and line not in in_place:
            action = Action.HOLD
            reason += ", kept: the line has no other subscription; run relay bootstrap apply first"
        steps.append(Step(action, line, generation, reason, url, subscription.id, account=desired.account))
    return steps


def count_left_behind(surveys: Iterable[Surveyed], now: float) -> int:
    """Return the number of subscriptions that are left behind at the v3 API; `now` is Unix seconds. Pure."""
    return sum(len(left_behind(survey, now)) for survey in surveys if isinstance(survey, Survey))


async def plan_prune(account: Account) -> list[Step]:
    """Return the steps of a prune; change nothing. Raises as `Reconciler.survey`."""
    return left_behind(await account.reconciler.survey(), account.clock())


async def prune(
    account: Account, seen: Collection[str], on_done: Callable[[AppliedStep], None], on_wait: Callable[[str], None]
) -> list[AppliedStep]:
    """Delete those of the subscriptions `seen`, by Linq's id, that are still left behind; `on_done` gets each step.

    Raises as `Reconciler.apply`.
    """
    async with account.keyring.exclusively(on_wait):
        survey = await account.reconciler.survey()
        steps = [step for step in left_behind(survey, account.clock()) if step.subscription_id in seen]
        results = await account.reconciler.carry_out(survey.desired, steps, on_done)
        await account.reconciler.tidy(survey, results)
    return results
