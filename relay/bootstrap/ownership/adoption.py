"""Adoption of a subscription that was made by other means, with the secret that Linq showed then.

The line keeps its subscription, so no event is lost or doubled. Linq never shows a secret again, so it cannot be
compared: the first event tells (`relay bootstrap status`). Everything else is checked before anything changes. The
secret is stored, encrypted, before the URL leads here; a run that is killed in between is run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.bootstrap.plan import Action
from relay.core.errors import StoreError
from relay.linq.target_urls import our_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.bootstrap.factory import Account
    from relay.bootstrap.survey import Survey
    from relay.core.secret import SigningSecret
    from relay.linq.api.v3 import LinqSubscription


@dataclass(frozen=True, slots=True)
class Adoption:
    """The change that an adoption makes at Linq."""

    subscription_id: str
    line: str
    generation: int
    former_url: str
    target_url: str


async def adopt(
    account: Account,
    subscription_id: str,
    line: str | None,
    secret: SigningSecret,
    on_wait: Callable[[str], None],
) -> Adoption:
    """Make a subscription ours: store its secret, then give it our URL, event types and line filter.

    `line` is needed for a subscription that is not filtered by one line. Raises as `Reconciler.survey`, and

    Raises:
        StoreError: it cannot be adopted.
        LinqApiError: Linq refused the change; the secret is stored, and the command can be run again.
    """
    async with account.keyring.exclusively(on_wait):
        await account.keyring.make_owner_tag()
        survey = await account.reconciler.survey()
        adoption = plan_adoption(survey, subscription_id, line, account.clock())
        await account.keyring.store(
            adoption.line, adoption.generation, adoption.subscription_id, secret, account.clock()
        )
        events = sorted(survey.desired.events_of(adoption.line))
        await account.api.update(adoption.subscription_id, events, adoption.line, adoption.target_url)
    return adoption


def plan_adoption(survey: Survey, subscription_id: str, line: str | None, now: float) -> Adoption:
    """Return the change that would adopt a subscription; `now` is Unix seconds. Pure.

    Raises:
        StoreError: it cannot be adopted.
    """
    desired = survey.desired
    found = next((each for each in survey.existing if each.id == subscription_id), None)
    if found is None:
        raise StoreError(f"Linq has no webhook subscription {subscription_id} in this account")
    target = our_target(desired.public_url, found.target_url)
    held = {record.subscription_id: record for record in survey.secrets}
    if target is not None and found.id in held:
        raise StoreError(f"subscription {subscription_id} is ours already, and its secret is stored here")
    line = _line_of(found, line)
    if line not in desired.lines:
        raise StoreError(f"{line} is not among the lines configured in [linq], or Linq does not list it")
    steps = survey.plan(now)
    used = [step for step in steps if step.action in {Action.KEEP, Action.UPDATE}]
    if other := next((step for step in used if step.line == line and step.subscription_id != found.id), None):
        raise StoreError(
            f"{line} has subscription {other.subscription_id} already, whose secret is stored here; delete "
            f"{subscription_id} at Linq if it is not needed any more"
        )
    covered = {*desired.owners} & found.phone_numbers if found.phone_numbers else {*desired.owners}
    left = sorted(each or "the account" for each in covered - {line} - {step.line for step in used})
    if left:
        raise StoreError(
            f"subscription {subscription_id} also serves {', '.join(left)}, and as that of {line} alone it would not: "
            f"register these first (relay bootstrap apply with {line} in [linq] exclude)"
        )
    generation = max((record.generation for record in survey.secrets if record.line == line), default=0) + 1
    if found.id in held:  # a run that was killed
        generation = held[found.id].generation
    elif target is not None and target.line == line and target.generation is not None:
        generation = target.generation  # events that are on their way name it
    url = desired.url(line, generation)
    return Adoption(subscription_id, line, generation, found.target_url, url)


def _line_of(found: LinqSubscription, line: str | None) -> str:
    """Return the line whose subscription this is to be."""
    if line is None:
        if len(found.phone_numbers) != 1:
            many = f"{len(found.phone_numbers)} lines" if found.phone_numbers else "every line"
            raise StoreError(f"subscription {found.id} is for {many}; choose with --line which of them it serves")
        return next(iter(found.phone_numbers))
    if found.phone_numbers and line not in found.phone_numbers:
        raise StoreError(f"subscription {found.id} is filtered by {', '.join(sorted(found.phone_numbers))}, not {line}")
    return line
