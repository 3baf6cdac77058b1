"""The plan: what has to change at Linq, from what is wanted, what is there and which secrets we hold. Pure.

A subscription is ours if its URL is under our public URL and path; every other is left alone. Of ours, one with the
right line and payload version whose secret we hold is kept; without the secret it is worth nothing, since Linq showed
it once, so a new generation takes its place and the old one goes after that. A rotation is the same move on purpose,
except that the old one lives on for a while (`KeyRecord.retire_at`), so that no event is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.core.event import Dialect, owner_of
from relay.linq.target_urls import PAYLOAD_VERSION, Target, our_target, target_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from relay.linq.api.v3 import LinqSubscription
    from relay.store.keyring.keyring import KeyRecord

INACTIVE = "inactive"
"""The reason of an update that only switches a subscription on again."""

_ROTATED_OUT = "rotated out"


class Action(StrEnum):
    """What happens to one subscription. The order is the order in which a plan is carried out."""

    CREATE = "create"
    UPDATE = "update"
    RETIRE = "retire"
    """It stays for a while beside its successor."""
    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """One change at Linq (or none), and why."""

    action: Action
    line: str | None
    """None for one that is bound to no line."""
    generation: int
    reason: str
    target_url: str
    subscription_id: str | None = None
    """Linq's id; None for one that does not exist yet."""
    retire_at: float | None = None
    """When one that retires goes; Unix seconds."""
    dialect: Dialect = Dialect.V3

    @property
    def owner(self) -> str:
        """Whose subscription it is: a line, `account` or `v2`."""
        return owner_of(self.dialect, self.line)

    @property
    def ends_rotation(self) -> bool:
        """Whether it deletes a subscription whose time beside its successor is over."""
        return self.action is Action.DELETE and self.reason == _ROTATED_OUT


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What should be at Linq."""

    public_url: str
    lines: Collection[str]
    events: frozenset[str]
    """What the subscription of each line is for."""
    account_events: frozenset[str] = frozenset()
    """What the account's own subscription is for; without any, there is none."""

    def events_of(self, line: str | None) -> frozenset[str]:
        """What the subscription of `line`, or the account's own, is for."""
        return self.account_events if line is None else self.events

    @property
    def owners(self) -> list[str | None]:
        """The lines, and None for the account if it should have a subscription."""
        return [*self.lines, *([None] if self.account_events else [])]


@dataclass(frozen=True, slots=True)
class _Ours:
    """A subscription of ours, and what its URL names."""

    subscription: LinqSubscription
    target: Target

    @property
    def generation(self) -> int:
        return self.target.generation or 0


def make_plan(
    wanted: DesiredState, existing: Iterable[LinqSubscription], secrets: Sequence[KeyRecord], now: float
) -> list[Step]:
    """The steps in the order they should happen: what is new first, so that a line is never without a subscription.

    `now` is Unix seconds.
    """
    ours = _by_owner(wanted, existing)
    steps: list[Step] = []
    for line in wanted.owners:
        steps += _steps_of(wanted, line, ours.pop(line, []), [one for one in secrets if one.line == line], now)
    for gone, left in ours.items():
        reason = "the line is no longer wanted" if gone else "no event without a line is wanted"
        steps += [_step(Action.DELETE, one, gone, reason) for one in left]
    return _in_order(steps)


def make_rotation(
    wanted: DesiredState,
    existing: Iterable[LinqSubscription],
    secrets: Sequence[KeyRecord],
    of: Collection[str | None],
    until: float,
) -> list[Step]:
    """The steps that give every owner in `of` a new secret beside the one it has, which goes at `until` (Unix seconds).

    An owner without any has none to rotate: that is for `make_plan`.
    """
    ours = _by_owner(wanted, existing)
    held = {record.subscription_id: record for record in secrets}
    steps: list[Step] = []
    for line in of:
        current = [one for one in ours.get(line, []) if one.subscription.id in held]
        current = [one for one in current if held[one.subscription.id].retire_at is None]
        if current:
            known = [record for record in secrets if record.line == line]
            steps.append(_creation(wanted, line, ours[line], known, "rotation"))
            retiring = [_step(Action.RETIRE, one, line, "its successor takes over") for one in current]
            steps += [replace(step, retire_at=until) for step in retiring]
    return _in_order(steps)


def _by_owner(wanted: DesiredState, existing: Iterable[LinqSubscription]) -> dict[str | None, list[_Ours]]:
    """Our subscriptions by the line that their URL names, the newest generation first."""
    ours: dict[str | None, list[_Ours]] = {}
    for subscription in existing:
        target = our_target(wanted.public_url, subscription.target_url)
        if target is not None and (target.line is not None or not target.named):
            ours.setdefault(target.line, []).append(_Ours(subscription, target))
    return {line: sorted(found, key=lambda one: -one.generation) for line, found in ours.items()}


def _steps_of(
    wanted: DesiredState, line: str | None, ours: list[_Ours], secrets: list[KeyRecord], now: float
) -> Iterator[Step]:
    held = {record.subscription_id: record for record in secrets}
    usable = [one for one in ours if one.subscription.id in held]
    fitting = [one for one in usable if one.target.version == PAYLOAD_VERSION]
    # One that retires is better than none: should its successor be gone, it stays in office.
    kept = min(fitting, key=lambda one: held[one.subscription.id].retire_at is not None, default=None)
    if kept is not None:
        difference = _difference(kept.subscription, wanted.events_of(line), line)
        yield _step(Action.UPDATE if difference else Action.KEEP, kept, line, difference or "as it should be")
        why = "another subscription of this line is in use"
    else:
        if not ours:
            reason = "the line has no subscription" if line else "the account has no subscription"
        elif usable:
            reason = f"its payload version is not {PAYLOAD_VERSION}"
        else:
            reason = "its secret is not stored here"
        yield _creation(wanted, line, ours, secrets, reason)
        why = "replaced"
    for one in ours:
        if one is kept:
            continue
        retires = held[one.subscription.id].retire_at if one.subscription.id in held else None
        if retires is not None and retires > now:
            until = datetime.fromtimestamp(retires, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
            yield _step(Action.KEEP, one, line, f"retires at {until}")
        else:
            yield _step(Action.DELETE, one, line, why if retires is None else _ROTATED_OUT)


def _creation(wanted: DesiredState, line: str | None, ours: list[_Ours], secrets: list[KeyRecord], reason: str) -> Step:
    known = [one.generation for one in ours] + [record.generation for record in secrets]
    generation = max(known, default=0) + 1
    return Step(Action.CREATE, line, generation, reason, target_url(wanted.public_url, line, generation))


def _difference(subscription: LinqSubscription, events: frozenset[str], line: str | None) -> str:
    """What is not as it should be, in words; empty if nothing."""
    found = list(differing_events(subscription.events, events))
    if subscription.phone_numbers != ({line} if line else set()):
        found.append("not filtered by its line" if line else "filtered by lines")
    if not subscription.is_active:
        found.append(INACTIVE)
    return ", ".join(found)


def differing_events(there: frozenset[str], wanted: frozenset[str]) -> Iterator[str]:
    """How the event types of a subscription differ from those that it should have, in words."""
    for events, what in ((wanted - there, "missing"), (there - wanted, "not wanted")):
        if events:
            yield f"{len(events)} event type{'s' * (len(events) > 1)} {what}"


def _step(action: Action, one: _Ours, line: str | None, reason: str) -> Step:
    return Step(action, line, one.generation, reason, one.subscription.target_url, one.subscription.id)


def _in_order(steps: list[Step]) -> list[Step]:
    order = list(Action)
    return sorted(steps, key=lambda step: order.index(step.action))
