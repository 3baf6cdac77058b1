"""Learning: the share of the events of a type and version that have each fact, and when it has collapsed. Pure.

The share so far is compared with that of the newest events, a group at a time. The more constant a fact was, the fewer
events it takes to notice that it is gone:

    99 % or more of the events had it      10 events
    95 % or more                           50 events
    20 % or more                          400 events
    less                                  it never counts as lost

A fact is lost if a group has it in less than half as many events as before (a tenth for the third row: a type whose
events differ, such as reactions of ours and of customers, may go without one for long). It is also lost if five groups
in a row have it in less than four fifths as many: a part of the events has another shape. A group that is like those
before is added to them; one that is not is left out, so that the comparison does not get used to the change. One odd
event changes nothing, and without events nothing is judged: a rare type may be silent.

A lost fact that comes back is no change any more. One that an operator accepts is learned again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from relay.contracts.facts import FACTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.contracts.facts import Pair, Tally

ENOUGH = 50
"""Events after which a share can be relied on."""
SETTLED_MS = 24 * 3600 * 1000
"""Time that the relay must have learned before a known version that it had not seen counts as new."""

NEW_TYPE = "new_type"
NEW_VERSION = "new_version"
LOST = "lost_"
"""Beginning of the names of changes about a fact, such as `lost_chat`."""
CHANGES = (NEW_TYPE, NEW_VERSION, *(LOST + fact for fact in FACTS))
"""Every kind of change."""

_GROUPS = ((0.99, 10), (0.95, 50), (0.2, 400))
"""The least share of a fact so far, and the events of a group that is compared with it."""
_ALWAYS = 0.95
_COLLAPSED, _COLLAPSED_SOMETIMES = 0.5, 0.1
_REDUCED = 0.8
_REDUCED_GROUPS = 5
_MOST = 10_000  # events that the share so far is made of; older ones count half, and half again


@dataclass(frozen=True, slots=True)
class Share:
    """The events with a fact: so far, and in the newest group."""

    events: int = 0
    having: int = 0
    new_events: int = 0
    new_having: int = 0
    reduced: int = 0
    """Groups in a row with clearly fewer than before."""

    @property
    def so_far(self) -> float:
        """The share of the events that have the fact, without the newest group."""
        return self.having / self.events if self.events else 0.0


@dataclass(frozen=True, slots=True)
class Contract:
    """Knowledge of an event type in a payload version."""

    pair: Pair
    first_ms: int
    """Unix milliseconds of its first event."""
    last_ms: int
    events: int = 0
    shares: Mapping[str, Share] = field(default_factory=lambda: dict.fromkeys(FACTS, Share()))
    changes: Mapping[str, int] = field(default_factory=dict)
    """Changes that no operator has accepted, of `CHANGES`, with the time when each was noticed."""
    sampled_ms: int = 0
    """Unix milliseconds at which the sample of a usual payload was kept; 0 if there is none."""

    @property
    def lost(self) -> tuple[str, ...]:
        """The facts that are lost."""
        return tuple(change.removeprefix(LOST) for change in self.changes if change.startswith(LOST))


class Learned(NamedTuple):
    """A contract after more events."""

    contract: Contract
    began: tuple[str, ...]
    """Changes that were noticed now."""
    ended: tuple[str, ...]
    """Changes that are over: the fact is back."""


def begin(pair: Pair, now_ms: int, changes: tuple[str, ...] = ()) -> Contract:
    """Return the contract of a pair at its first event."""
    return Contract(pair, now_ms, now_ms, changes=dict.fromkeys(changes, now_ms))


def learn(contract: Contract, tally: Tally, now_ms: int) -> Learned:
    """Add counted events to a contract."""
    shares: dict[str, Share] = {}
    changes = dict(contract.changes)
    for fact in FACTS:
        change = LOST + fact
        shares[fact], is_lost = _advance(
            contract.shares.get(fact, Share()), tally.events, tally.facts[fact], was_lost=change in changes
        )
        if is_lost:
            changes.setdefault(change, now_ms)
        else:
            changes.pop(change, None)
    began = tuple(change for change in changes if change not in contract.changes)
    ended = tuple(change for change in contract.changes if change not in changes)
    events = contract.events + tally.events
    return Learned(
        replace(contract, last_ms=now_ms, events=events, shares=shares, changes=changes),
        began,
        ended,
    )


def accept(contract: Contract) -> Contract:
    """Return a contract whose changes are known; the facts that were lost are learned again."""
    shares = {fact: Share() if LOST + fact in contract.changes else share for fact, share in contract.shares.items()}
    return replace(contract, shares=shares, changes={})


def newness_of(
    pair: Pair,
    known: Mapping[Pair, int],
    types_of_release: frozenset[str],
    versions_of_release: frozenset[str],
    now_ms: int,
) -> tuple[str, ...]:
    """Return the changes that the first event of a pair is: of a type or version that is new.

    `known` are the other pairs that were learned, with the time of their first event. New is what this release does not
    know; and a version that it knows, if the relay has learned for a day without one event of it: then Linq or an
    operator has moved to another shape, and no subscriber has seen it. A type that the release knows and that is merely
    rare is not new.
    """
    if any(other.type == pair.type and other.version == pair.version for other in known):
        return ()
    changes = []
    if pair.type not in types_of_release and all(other.type != pair.type for other in known):
        changes.append(NEW_TYPE)
    if all(other.version != pair.version for other in known):
        has_settled = any(first_ms <= now_ms - SETTLED_MS for first_ms in known.values())
        if pair.version not in versions_of_release or has_settled:
            changes.append(NEW_VERSION)
    return tuple(changes)


def _advance(share: Share, events: int, having: int, *, was_lost: bool) -> tuple[Share, bool]:
    """Add events to the newest group, and judge it once it is complete. Returns True if the fact is lost."""
    new = replace(share, new_events=share.new_events + events, new_having=share.new_having + having)
    needed = _needed(share)
    if new.new_events < needed:
        return new, was_lost
    found, usual = new.new_having / new.new_events if new.new_events else 0.0, share.so_far
    empty = replace(share, new_events=0, new_having=0, reduced=0)
    if (
        needed == 0
        or usual < _GROUPS[-1][0]
        or found >= usual * (_REDUCED if usual >= _ALWAYS else _COLLAPSED_SOMETIMES)
    ):
        return _merged(empty, new), False
    if was_lost or found < usual * (_COLLAPSED if usual >= _ALWAYS else _COLLAPSED_SOMETIMES):
        return empty, True
    reduced = share.reduced + 1
    return replace(empty, reduced=reduced), reduced >= _REDUCED_GROUPS


def _needed(share: Share) -> int:
    """Return the number of events that the newest group must have to be judged; 0 while little is known."""
    if share.events < ENOUGH:
        return 0
    return next((events for least, events in _GROUPS if share.so_far >= least), _GROUPS[-1][1])


def _merged(share: Share, new: Share) -> Share:
    events, having = share.events + new.new_events, share.having + new.new_having
    while events > _MOST:
        events, having = events // 2, having // 2
    return replace(share, events=events, having=having)
