"""The plan: what has to change at Linq, from the desired state, the actual one and the stored secrets. Pure.

A subscription is ours if its URL is under our public URL and path; every other is left alone. If it may be that of
another relay at the same URL, no run changes anything unasked (`ownership.rivals`). Of ours, the one with
the right line and payload version whose secret is stored is kept. Without its secret a subscription is useless, since
Linq showed it only once: a new generation replaces it, and the old one is deleted after that. A rotation does the same
on purpose, except that the old one stays for a while (`KeyRecord.retire_at`), so that no event is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.core.event import Dialect, owner_of
from relay.core.patterns import matches
from relay.linq.payloads.event_types import REACTED_TO, is_of_lines, is_of_the_account
from relay.linq.target_urls import PAYLOAD_VERSION, Target, our_target, target_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from relay.linq.api.v3 import LinqSubscription
    from relay.store.keyring.record import KeyRecord

INACTIVE = "inactive"
"""The reason of an update that only switches a subscription on again."""

_ROTATED_OUT = "rotated out"


class Action(StrEnum):
    """A change to one subscription. A plan is carried out in the order of these."""

    CREATE = "create"
    UPDATE = "update"
    RETIRE = "retire"
    """It stays for a while beside its successor."""
    DELETE = "delete"
    HOLD = "hold"
    """A deletion that is not carried out yet (`bootstrap.deletions`)."""
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """A change at Linq (or none), and its reason."""

    action: Action
    line: str | None
    """None for one that is bound to no line."""
    generation: int
    reason: str
    target_url: str
    subscription_id: str | None = None
    """Linq's id; None for one that does not exist yet."""
    retire_at: float | None = None
    """Unix seconds at which a retired subscription is deleted."""
    dialect: Dialect = Dialect.V3
    retained: frozenset[str] = frozenset()
    """Event types that an update leaves on the subscription, although Linq does not list them."""
    is_moved: bool = False
    """True if an update also changes the URL, to `target_url`."""
    is_unlisted: bool = False
    """True if it is deleted only because Linq's lists lack the line, or the event types of the account."""

    @property
    def owner(self) -> str:
        """The owner of the subscription: a line, `account` or `v2`."""
        return owner_of(self.dialect, self.line)

    @property
    def ends_rotation(self) -> bool:
        """True if it deletes a retired subscription at its time."""
        return self.action is Action.DELETE and self.reason == _ROTATED_OUT


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The subscriptions that should exist at Linq."""

    public_url: str
    lines: Collection[str]
    events: frozenset[str]
    """Event types of the subscription of each line."""
    account_events: frozenset[str] = frozenset()
    """Event types of the account's own subscription; if empty, there is none."""
    patterns: tuple[str, ...] = ()
    """The patterns of relay.toml from which the event types follow."""
    wants_account: bool = False
    """True if relay.toml wants events of the account."""
    excluded: frozenset[str] | None = None
    """Lines that relay.toml excludes; None if it names all lines, so that every other is excluded."""
    unreadable: tuple[str, ...] = ()
    """Numbers that Linq lists and that are not E.164."""
    tag: str | None = None
    """The owner tag; None before the first one was made."""

    def events_of(self, line: str | None) -> frozenset[str]:
        """Return the event types of the subscription of `line`, or of the account's own."""
        return self.account_events if line is None else self.events

    def retained(self, subscription: LinqSubscription, line: str | None) -> frozenset[str]:
        """Return the event types of a subscription that are wanted, although Linq does not list them.

        Linq's list may be incomplete: nothing is taken away from a subscription for that reason.
        """
        belongs, always = (is_of_lines, frozenset()) if line else (is_of_the_account, REACTED_TO)
        unlisted = filter(belongs, subscription.events - self.events_of(line))
        return frozenset(
            event for event in unlisted if event in always or any(matches(pattern, event) for pattern in self.patterns)
        )

    def is_excluded(self, line: str | None, subscription: LinqSubscription) -> bool:
        """Return True if relay.toml excludes a line or the account, whatever Linq lists."""
        if line is None:
            return not (self.wants_account and self.retained(subscription, None))
        return self.excluded is None or line in self.excluded

    @property
    def follows_the_list(self) -> bool:
        """True if the lines are those of Linq's list, and not those that relay.toml names."""
        return self.excluded is not None

    def may_register(self, line: str) -> bool:
        """Return True if a line is registered once Linq lists it."""
        return self.excluded is not None and line not in self.excluded

    @property
    def owners(self) -> list[str | None]:
        """The lines, and None for the account if it should have a subscription."""
        return [*self.lines, *([None] if self.account_events else [])]


@dataclass(frozen=True, slots=True)
class _Ours:
    """A subscription of ours, and its parsed URL."""

    subscription: LinqSubscription
    target: Target

    @property
    def generation(self) -> int:
        return self.target.generation or 0


def make_plan(
    desired: DesiredState, existing: Iterable[LinqSubscription], secrets: Sequence[KeyRecord], now: float
) -> list[Step]:
    """Return the steps in order: creations first, so that a line is never without a subscription.

    `now` is Unix seconds.
    """
    ours = _by_owner(desired, existing)
    steps: list[Step] = []
    for line in desired.owners:
        steps += _steps_of(
            desired, line, ours.pop(line, []), [record for record in secrets if record.line == line], now
        )
    for gone, left in ours.items():
        reason = "the line is no longer wanted" if gone else "no event without a line is wanted"
        for candidate in left:
            is_unlisted = not desired.is_excluded(gone, candidate.subscription)
            why = f"Linq no longer lists {'the line' if gone else 'its event types'}" if is_unlisted else reason
            steps.append(replace(_step(Action.DELETE, candidate, gone, why), is_unlisted=is_unlisted))
    return _in_order(steps)


def make_rotation(
    desired: DesiredState,
    existing: Iterable[LinqSubscription],
    secrets: Sequence[KeyRecord],
    of: Collection[str | None],
    until: float,
) -> list[Step]:
    """Return the steps that give every owner in `of` a new secret; the old one stays until `until` (Unix seconds).

    An owner without a secret is skipped: `make_plan` creates one.
    """
    ours = _by_owner(desired, existing)
    held = {record.subscription_id: record for record in secrets}
    steps: list[Step] = []
    for line in of:
        current = [candidate for candidate in ours.get(line, []) if candidate.subscription.id in held]
        current = [candidate for candidate in current if held[candidate.subscription.id].retire_at is None]
        if current:
            known = [record for record in secrets if record.line == line]
            steps.append(_creation(desired, line, ours[line], known, "rotation"))
            retiring = [_step(Action.RETIRE, candidate, line, "its successor takes over") for candidate in current]
            steps += [replace(step, retire_at=until) for step in retiring]
    return _in_order(steps)


def _by_owner(desired: DesiredState, existing: Iterable[LinqSubscription]) -> dict[str | None, list[_Ours]]:
    """Our subscriptions by the line that their URL names, the newest generation first."""
    ours: dict[str | None, list[_Ours]] = {}
    for subscription in existing:
        target = our_target(desired.public_url, subscription.target_url)
        if target is not None and (target.line is not None or not target.named):
            ours.setdefault(target.line, []).append(_Ours(subscription, target))
    return {line: sorted(found, key=lambda candidate: -candidate.generation) for line, found in ours.items()}


def _steps_of(
    desired: DesiredState, line: str | None, ours: list[_Ours], secrets: list[KeyRecord], now: float
) -> Iterator[Step]:
    held = {record.subscription_id: record for record in secrets}
    usable = [candidate for candidate in ours if candidate.subscription.id in held]
    fitting = [candidate for candidate in usable if candidate.target.version == PAYLOAD_VERSION]
    # A retired one is better than none: if its successor is gone, it stays in use.
    kept = min(fitting, key=lambda candidate: held[candidate.subscription.id].retire_at is not None, default=None)
    if kept is not None:
        retained = desired.retained(kept.subscription, line)
        found = _differences(kept.subscription, desired.events_of(line) | retained, line)
        tagged = _tagged(desired, kept, ours)
        difference = ", ".join([*found, *(["without our owner tag"] if tagged else [])])
        step = _step(Action.UPDATE if difference else Action.KEEP, kept, line, difference or "as it should be")
        yield replace(step, retained=retained, is_moved=bool(tagged), target_url=tagged or step.target_url)
        why = "another subscription of this line is in use"
    else:
        if not ours:
            reason = "the line has no subscription" if line else "the account has no subscription"
        elif usable:
            reason = f"its payload version is not {PAYLOAD_VERSION}"
        else:
            made_by = ours[0].target.owner
            is_rival = made_by is not None and made_by != desired.tag
            reason = f"another relay made it (owner tag {made_by})" if is_rival else "its secret is not stored here"
        yield _creation(desired, line, ours, secrets, reason)
        why = "replaced"
    for candidate in ours:
        if candidate is kept:
            continue
        retires = held[candidate.subscription.id].retire_at if candidate.subscription.id in held else None
        if retires is not None and retires > now:
            until = datetime.fromtimestamp(retires, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
            yield _step(Action.KEEP, candidate, line, f"retires at {until}")
        else:
            yield _step(Action.DELETE, candidate, line, why if retires is None else _ROTATED_OUT)


def _creation(
    desired: DesiredState, line: str | None, ours: list[_Ours], secrets: list[KeyRecord], reason: str
) -> Step:
    known = [candidate.generation for candidate in ours] + [record.generation for record in secrets]
    generation = max(known, default=0) + 1
    return Step(Action.CREATE, line, generation, reason, target_url(desired.public_url, line, generation, desired.tag))


def _tagged(desired: DesiredState, kept: _Ours, ours: list[_Ours]) -> str:
    """Return the URL of a subscription with our owner tag; empty if it has the tag, or cannot have it yet."""
    if desired.tag is None or kept.target.owner == desired.tag:
        return ""
    url = target_url(desired.public_url, kept.target.line, kept.generation, desired.tag)
    return "" if any(other.subscription.target_url == url for other in ours) else url


def _differences(subscription: LinqSubscription, events: frozenset[str], line: str | None) -> Iterator[str]:
    """Describe how a subscription differs from the desired one."""
    yield from differing_events(subscription.events, events)
    if subscription.phone_numbers != ({line} if line else set()):
        yield "not filtered by its line" if line else "filtered by lines"
    if not subscription.is_active:
        yield INACTIVE


def differing_events(there: frozenset[str], desired: frozenset[str]) -> Iterator[str]:
    """Describe how the event types of a subscription differ from the desired ones."""
    for events, what in ((desired - there, "missing"), (there - desired, "not wanted")):
        if events:
            yield f"{len(events)} event type{'s' * (len(events) > 1)} {what}"


def _step(action: Action, candidate: _Ours, line: str | None, reason: str) -> Step:
    return Step(
        action, line, candidate.generation, reason, candidate.subscription.target_url, candidate.subscription.id
    )


def _in_order(steps: list[Step]) -> list[Step]:
    order = list(Action)
    return sorted(steps, key=lambda step: order.index(step.action))
