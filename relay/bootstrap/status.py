"""The status of our subscriptions: each one at Linq, its secret, its last event, what is wrong. Pure.

The same for both of Linq's APIs: it is read from a `Surveyed`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relay.bootstrap.plan import INACTIVE, Action
from relay.core.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from relay.bootstrap.ownership.rivals import Rival
    from relay.bootstrap.plan import Step
    from relay.store.keyring.last_seen import LastEvent

KINDS = ("missing", "changed", "inactive", "extra", "rival", "silent", "malformed", "foreign")
"""The kinds of difference that a check counts:

missing     owners (lines, the account, v2) without a subscription that can be used
changed     subscriptions that have other events, another line filter or perhaps another secret than they should
inactive    subscriptions that a user, or Linq, switched off
extra       subscriptions of ours that should not be there (duplicates, lines that are gone)
rival       subscriptions under our URL that may be another relay's; nothing is changed until that is settled
silent      lines (and v2) that had events before, and none for `[linq] silent_after`
malformed   subscriptions under our URL at which no event can be accepted, and numbers that are not E.164; never touched
foreign     subscriptions of others that get the same events; for information, never touched
"""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A subscription or a number at Linq that has to be corrected by hand, since it is not provably ours."""

    owner: str
    """The number, or `unknown`."""
    what: str
    """A sentence with the remedy."""
    subscription_id: str | None = None
    is_active: bool = False


class Surveyed(Protocol):
    """The desired state at one of Linq's APIs, and the actual one."""

    def plan(self, now: float, /) -> list[Step]:
        """Return the steps from the actual state to the desired one; `now` is Unix seconds."""

    @property
    def owners(self) -> Sequence[str]:
        """The owners that should have subscriptions."""

    @property
    def active(self) -> Collection[str]:
        """The ids of the subscriptions that Linq posts to."""

    @property
    def malformed(self) -> Sequence[Malformed]:
        """Faults at Linq to be corrected by hand."""

    @property
    def rivals(self) -> Sequence[Rival]:
        """The subscriptions under our URL that may be another relay's."""

    @property
    def foreign(self) -> int:
        """The number of subscriptions of others that get the same events."""


@dataclass(frozen=True, slots=True)
class Status:
    """An owner, and its subscription in use."""

    owner: str
    """A line (E.164), `account` or `v2`; for what is malformed, the number or `unknown`."""
    generation: int | None
    """None where no subscription can be used; 0 for v2's, which has none."""
    subscription_id: str | None
    is_active: bool
    last_event_ms: int | None
    """Time at which its last event was verified, Unix milliseconds; None without any."""
    last_generation: int | None
    """The generation whose secret verified that event; for v2's, 0 is the secret and -1 the old one."""
    retiring: int
    """The number of older generations that stay beside it."""
    state: str
    """`ok`, or what is wrong."""

    @property
    def is_ok(self) -> bool:
        """True if nothing is wrong."""
        return self.state == "ok"


def statuses(survey: Surveyed, last_seen: Mapping[str, LastEvent], now: float, silent_after: float) -> list[Status]:
    """Return the status of every owner that should have a subscription, and what is malformed.

    `now` and `silent_after` are (Unix) seconds.
    """
    steps, active = survey.plan(now), survey.active
    rivals = {rival.owner: rival for rival in survey.rivals}
    rows = []
    for owner in survey.owners:
        last = last_seen.get(owner)
        own = [step for step in steps if step.owner == owner]
        used = next((step for step in own if step.action in {Action.KEEP, Action.UPDATE}), None)
        main = used or next(step for step in own if step.action is Action.CREATE)
        if main.action is Action.CREATE and owner in rivals:
            continue  # the rival's row says more
        silence = _silence(owner, last, now, silent_after)
        rows.append(
            Status(
                owner=owner,
                generation=used.generation if used else None,
                subscription_id=used.subscription_id if used else None,
                is_active=used is not None and used.subscription_id in active,
                last_event_ms=last.at_ms if last else None,
                last_generation=last.generation if last else None,
                retiring=sum(step.action is Action.KEEP for step in own) - (main.action is Action.KEEP),
                state=silence or "ok" if main.action is Action.KEEP else main.reason,
            )
        )
    rows += [_not_ours(rival.owner, rival.subscription_id, rival.what, rival.is_active) for rival in survey.rivals]
    return rows + [
        _not_ours(odd.owner, odd.subscription_id, f"malformed: {odd.what}", odd.is_active) for odd in survey.malformed
    ]


def _not_ours(owner: str, subscription_id: str | None, state: str, is_active: bool) -> Status:  # noqa: FBT001
    """Return the row of a subscription or a number that is not provably ours."""
    return Status(
        owner=owner,
        generation=None,
        subscription_id=subscription_id,
        is_active=is_active,
        last_event_ms=None,
        last_generation=None,
        retiring=0,
        state=state,
    )


def differences(
    survey: Surveyed, last_seen: Mapping[str, LastEvent], now: float, silent_after: float
) -> dict[str, int]:
    """Count the differences of each of `KINDS`."""
    found = Counter(_kind(step) for step in survey.plan(now))
    found["silent"] = sum(bool(_silence(owner, last_seen.get(owner), now, silent_after)) for owner in survey.owners)
    found["rival"] = len(survey.rivals)
    found["malformed"] = len(survey.malformed)
    found["foreign"] = survey.foreign
    return {kind: found[kind] for kind in KINDS}


def _kind(step: Step) -> str:
    match step.action:
        case Action.CREATE:
            return "missing"
        case Action.UPDATE:
            return "inactive" if step.reason == INACTIVE else "changed"
        case Action.DELETE if not step.ends_rotation:
            return "extra"
        case _:
            return ""


def _silence(owner: str, last: LastEvent | None, now: float, silent_after: float) -> str:
    """Describe how long an owner has been silent; empty if it is not."""
    if last is None or not last.is_silent(owner, now, silent_after):
        return ""
    return f"silent for {format_duration(now - last.at_ms / 1000)}"
