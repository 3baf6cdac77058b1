"""How the lines stand: each one's subscription at Linq, its secret, when it was heard of last, what is wrong. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.bootstrap.plan import INACTIVE, Action
from relay.core.durations import format_duration
from relay.linq.urls import our_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconcile import Survey
    from relay.store.heard import LastEvent

KINDS = ("missing", "changed", "inactive", "extra", "silent", "foreign")
"""What a check counts:

missing     lines without a subscription whose secret we hold
changed     subscriptions that have other events or another line filter than they should
inactive    subscriptions that somebody, or Linq, switched off
extra       subscriptions of ours that should not be there (duplicates, lines that are gone)
silent      lines that used to speak and have not for `[linq] silent_after`
foreign     subscriptions of somebody else that get the same lines' events; left alone, for information
"""


@dataclass(frozen=True, slots=True)
class LineStatus:
    """One line, or the account, and its subscription in use."""

    line: str | None
    generation: int | None
    """None where no subscription of it can be used."""
    subscription_id: str | None
    is_active: bool
    last_event_ms: int | None
    """When its last event was verified, Unix milliseconds; None if none ever was."""
    last_generation: int | None
    """The generation whose secret verified that event."""
    retiring: int
    """How many older generations live on beside it."""
    state: str
    """`ok`, or what is wrong."""

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.state == "ok"


def statuses(
    survey: Survey, heard: Mapping[str | None, LastEvent], now: float, silent_after: float
) -> list[LineStatus]:
    """How every line that should be registered stands; `now` is Unix seconds, `silent_after` seconds."""
    steps = survey.plan(now)
    active = {subscription.id for subscription in survey.existing if subscription.is_active}
    rows = []
    for line in survey.wanted.owners:
        last = heard.get(line)
        own = [step for step in steps if step.line == line]
        used = next((step for step in own if step.action in {Action.KEEP, Action.UPDATE}), None)
        main = used or next(step for step in own if step.action is Action.CREATE)
        silence = _silence(last, now, silent_after)
        rows.append(
            LineStatus(
                line=line,
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


def differences(
    survey: Survey, heard: Mapping[str | None, LastEvent], now: float, silent_after: float
) -> dict[str, int]:
    """How many there are of each of `KINDS`."""
    found = Counter(_kind(step) for step in survey.plan(now))
    found["silent"] = sum(bool(_silence(heard.get(line), now, silent_after)) for line in survey.wanted.owners)
    found["foreign"] = sum(_is_foreign(survey, url, lines) for url, lines in _targets(survey))
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


def _silence(last: LastEvent | None, now: float, silent_after: float) -> str:
    """For how long a line that used to speak has not; empty if it is not silent."""
    if last is None or now - last.at_ms / 1000 <= silent_after:
        return ""
    return f"silent for {format_duration(now - last.at_ms / 1000)}"


def _targets(survey: Survey) -> Sequence[tuple[str, frozenset[str]]]:
    return [(subscription.target_url, subscription.phone_numbers) for subscription in survey.existing]


def _is_foreign(survey: Survey, url: str, lines: frozenset[str]) -> bool:
    shares = not lines or not lines.isdisjoint(survey.wanted.lines)
    return shares and our_target(survey.wanted.public_url, url) is None
