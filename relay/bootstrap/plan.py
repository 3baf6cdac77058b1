"""The plan: what has to change at Linq, from what is wanted, what is there and which secrets we hold. Pure.

A subscription is ours if its URL is under our public URL and path; every other is left alone. Of ours, one with the
right line and payload version whose secret we hold is kept; without the secret it is worth nothing, since Linq showed
it once, so a new generation takes its place and the old one goes after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.linq.urls import PAYLOAD_VERSION, Target, our_target, target_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from relay.linq.api import LinqSubscription
    from relay.store.keyring import KeyRecord


class Action(StrEnum):
    """What happens to one subscription."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    FORGET = "forget"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """One change at Linq (or none), and why."""

    action: Action
    line: str | None
    generation: int
    reason: str
    target_url: str
    subscription_id: str | None = None
    """Linq's id; None for one that does not exist yet."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be at Linq."""

    public_url: str
    lines: Collection[str]
    events: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Ours:
    """A subscription of ours, and what its URL names."""

    subscription: LinqSubscription
    target: Target

    @property
    def generation(self) -> int:
        return self.target.generation or 0


def make_plan(wanted: Wanted, existing: Iterable[LinqSubscription], secrets: Iterable[KeyRecord]) -> list[Step]:
    """The steps in the order they should happen: what is new first, so that a line is never without a subscription."""
    ours: dict[str | None, list[_Ours]] = {}
    for subscription in existing:
        if (target := our_target(wanted.public_url, subscription.target_url)) is not None:
            ours.setdefault(target.line, []).append(_Ours(subscription, target))
    existing, secrets = list(existing), list(secrets)
    steps: list[Step] = []
    for line in wanted.lines:
        steps += _steps_of_line(wanted, line, ours.pop(line, []), [one for one in secrets if one.line == line])
    for gone, left in ours.items():
        if gone is not None:  # the account's own subscription has no line
            steps += [_step(Action.DELETE, one, gone, "the line is no longer ours") for one in left]
    at_linq = {subscription.id for subscription in existing}
    steps += [_forgetting(wanted, record) for record in secrets if record.subscription_id not in at_linq]
    order = list(Action)
    return sorted(steps, key=lambda step: order.index(step.action))


def _steps_of_line(wanted: Wanted, line: str, ours: list[_Ours], secrets: list[KeyRecord]) -> Iterator[Step]:
    newest_first = sorted(ours, key=lambda one: -one.generation)
    held = {record.subscription_id for record in secrets}
    usable = [one for one in newest_first if one.subscription.id in held]
    kept = next((one for one in usable if one.target.version == PAYLOAD_VERSION), None)
    if kept is not None:
        difference = _difference(kept.subscription, wanted.events, line)
        yield _step(Action.UPDATE if difference else Action.KEEP, kept, line, difference or "as it should be")
        why = "another subscription of this line is in use"
    else:
        known = [one.generation for one in ours] + [record.generation for record in secrets]
        generation = max(known, default=0) + 1
        if not ours:
            reason = "the line has no subscription"
        elif usable:
            reason = f"its payload version is not {PAYLOAD_VERSION}"
        else:
            reason = "its secret is not stored here"
        yield Step(Action.CREATE, line, generation, reason, target_url(wanted.public_url, line, generation))
        why = "replaced"
    for one in newest_first:
        if one is not kept:
            yield _step(Action.DELETE, one, line, why)


def _forgetting(wanted: Wanted, record: KeyRecord) -> Step:
    url = target_url(wanted.public_url, record.line, record.generation)
    reason = "Linq has no such subscription any more"
    return Step(Action.FORGET, record.line, record.generation, reason, url, record.subscription_id)


def _difference(subscription: LinqSubscription, events: frozenset[str], line: str) -> str:
    """What is not as it should be, in words; empty if nothing."""
    found = []
    if missing := events - subscription.events:
        found.append(f"{len(missing)} event types missing")
    if unwanted := subscription.events - events:
        found.append(f"{len(unwanted)} event types not wanted")
    if subscription.phone_numbers != {line}:
        found.append("not filtered by its line")
    if not subscription.is_active:
        found.append("inactive")
    return ", ".join(found)


def _step(action: Action, one: _Ours, line: str, reason: str) -> Step:
    return Step(action, line, one.generation, reason, one.subscription.target_url, one.subscription.id)
