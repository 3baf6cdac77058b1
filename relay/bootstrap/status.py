"""How our subscriptions stand: each one at Linq, its secret, when it was heard of last, what is wrong. Pure.

The same for both of Linq's APIs: what is looked at is a `Surveyed`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relay.bootstrap.plan import INACTIVE, Action
from relay.core.durations import format_duration
from relay.core.event import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from relay.bootstrap.plan import Step
    from relay.store.keyring.last_seen import LastEvent

KINDS = ("missing", "changed", "inactive", "extra", "silent", "foreign")
"""What a check counts:

missing     owners (lines, the account, v2) without a subscription that can be used
changed     subscriptions that have other events, another line filter or perhaps another secret than they should
inactive    subscriptions that somebody, or Linq, switched off
extra       subscriptions of ours that should not be there (duplicates, lines that are gone)
silent      lines (and v2) that used to speak and have not for `[linq] silent_after`
foreign     subscriptions of somebody else that get the same events; left alone, for information
"""


class Surveyed(Protocol):
    """What is wanted at one of Linq's APIs, and what is there."""

    def plan(self, now: float, /) -> list[Step]:
        """The steps from what is there to what is wanted; `now` is Unix seconds."""

    @property
    def owners(self) -> Sequence[str]:
        """Whose subscriptions there should be."""

    @property
    def active(self) -> Collection[str]:
        """The ids of the subscriptions that Linq posts to."""

    @property
    def foreign(self) -> int:
        """How many subscriptions of somebody else get the same events."""


@dataclass(frozen=True, slots=True)
class Status:
    """One owner, and its subscription in use."""

    owner: str
    """A line (E.164), `account` or `v2`."""
    generation: int | None
    """None where no subscription can be used; 0 for v2's, which has none."""
    subscription_id: str | None
    is_active: bool
    last_event_ms: int | None
    """When its last event was verified, Unix milliseconds; None if none ever was."""
    last_generation: int | None
    """The generation whose secret verified that event; for v2's, 0 is the secret and -1 the old one."""
    retiring: int
    """How many older generations live on beside it."""
    state: str
    """`ok`, or what is wrong."""

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.state == "ok"


def statuses(survey: Surveyed, heard: Mapping[str, LastEvent], now: float, silent_after: float) -> list[Status]:
    """How every owner that should be registered stands; `now` is Unix seconds, `silent_after` seconds."""
    steps, active = survey.plan(now), survey.active
    rows = []
    for owner in survey.owners:
        last = heard.get(owner)
        own = [step for step in steps if step.owner == owner]
        used = next((step for step in own if step.action in {Action.KEEP, Action.UPDATE}), None)
        main = used or next(step for step in own if step.action is Action.CREATE)
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
    return rows


def differences(survey: Surveyed, heard: Mapping[str, LastEvent], now: float, silent_after: float) -> dict[str, int]:
    """How many there are of each of `KINDS`."""
    found = Counter(_kind(step) for step in survey.plan(now))
    found["silent"] = sum(bool(_silence(owner, heard.get(owner), now, silent_after)) for owner in survey.owners)
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
    """For how long an owner that used to speak has not; empty if it is not silent. The account seldom has a word."""
    if owner == ACCOUNT or last is None or now - last.at_ms / 1000 <= silent_after:
        return ""
    return f"silent for {format_duration(now - last.at_ms / 1000)}"
