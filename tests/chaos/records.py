"""Records of a run, to be judged. Events are numbers here, positions in byte strings: a million is a megabyte."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.events import shard_of_event
from tests.chaos.teams import PROMPT
from tests.chaos.timeline import Timeline

DELETE_LANE_GROUPS, DELETE_CONSUMERS = "delete-lane-groups", "delete-consumers"
_DELETIONS = {DELETE_LANE_GROUPS, DELETE_CONSUMERS}
"""Faults after which the relay repeats settled pushes: the record of them is deleted."""
FAIL_OVER, LOSE_REDIS = "fail-over", "lose-redis"
STARVE_DESCRIPTORS, SILENCE_DNS = "starve-descriptors", "silence-dns"
HOLD_CONNECTIONS, TURN_HOSTILE = "hold-connections", "turn-hostile"
_NOTICED_WITHIN = 60.0
"""Seconds from a deletion until the lane notices it, at most. What is settled meanwhile is repeated as well, as is what
was in flight.
"""
_ANSWERED_BEFORE = 1.0
"""Seconds from the answer of a team until its push is settled and at the replica, at most."""


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault that happened, in monotonic seconds."""

    kind: str
    began: float
    ended: float
    targets: tuple[str, ...] = ()
    """Processes or teams that it affected."""
    moved: frozenset[int] = frozenset()
    """Shards of which another server was the primary at its end. What the former one confirmed last is lost with it,
    and settlements wait for no replica.
    """
    moved_by: float | None = None
    """The moment by which they had moved; None if that is its end."""

    def distance(self, moment: float) -> float:
        """Return the seconds between a moment and the fault; 0 while it lasts."""
        return max(self.began - moment, moment - self.ended, 0.0)


class Watch(NamedTuple):
    """Time, in monotonic seconds, of a fault that must not affect Linq and the healthy teams."""

    kind: str
    began: float
    ended: float


class Repeat(NamedTuple):
    """Push of an event that the team already had, in monotonic seconds."""

    number: int
    first: float
    again: float


class First(NamedTuple):
    """First push of an event that the team answered with a 2xx, in monotonic seconds."""

    number: int
    at: float


@dataclass(slots=True)
class TopicRecord:
    """Contents of a topic's stream, with several shards of one on each."""

    times: bytearray
    """Number of entries of each event."""
    order: list[int] = field(default_factory=list)
    """Events in the order of their entries, shard by shard."""
    wrong: list[str] = field(default_factory=list)
    """Entries that should not be there."""


@dataclass(frozen=True, slots=True)
class TeamRecord:
    """Events that a team received."""

    times: bytes
    """Number of deliveries of each event."""
    timeline: Timeline = field(default_factory=Timeline)
    """`got` at the first delivery of an event."""
    repeats: list[Repeat] = field(default_factory=list)
    """Every further delivery."""
    dead: frozenset[int] = frozenset()
    """Events among its dead letters."""
    dead_letters: int = 0
    """Number of its dead letters."""
    wrong: list[str] = field(default_factory=list)
    """Signatures that did not verify, bodies that were changed, events that were never sent."""
    firsts: list[First] = field(default_factory=list)
    """Events in the order in which they came, of the team that gets those of a chat in order; else empty."""


@dataclass(frozen=True, slots=True)
class Records:
    """All records of a run."""

    states: bytes
    """State of each event at the sender (`tests.chaos.linq`)."""
    linq: Timeline
    """`sent`, `accepted`, `answered 503` ..., `unanswered`."""
    refused: list[str]
    """Events that were refused, or that the sender gave up on."""
    topics: dict[str, TopicRecord]
    teams: dict[str, TeamRecord]
    """Push teams, by name."""
    pulled: TeamRecord
    ledger: dict[str, Any]
    """Output of `relay ledger --json`."""
    deaths: list[str]
    log_errors: list[str]
    """Log lines of the relay that show a bug."""
    unfinished: str
    """Work that was never finished; empty if everything came to rest."""
    faults: list[FaultRecord] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    """What the faults themselves found."""
    shards: int = 1

    @property
    def pushes(self) -> int:
        """Number of pushes that got a 2xx, repeats included."""
        return sum(sum(team.times) for team in self.teams.values())

    @property
    def repeats(self) -> int:
        """Number of pushes that were not the first of their event."""
        return self.pushes - sum(len(team.times) - team.times.count(0) for team in self.teams.values())

    @property
    def prompt_pushes(self) -> int:
        """Number of pushes to teams that respond at once."""
        return sum(sum(team.times) for name, team in self.teams.items() if name in PROMPT)

    @property
    def prompt_repeats(self) -> int:
        """Number of their repeats that no lost settlement explains."""
        return sum(
            self.loss_before(name, repeat) is None
            for name, team in self.teams.items()
            for repeat in team.repeats
            if name in PROMPT
        )

    @property
    def repeats_of_losses(self) -> int:
        """Number of repeats that come from the deletion of their lane's group or consumer, or from a lost primary."""
        return sum(
            self.loss_before(name, repeat) is not None for name, team in self.teams.items() for repeat in team.repeats
        )

    def loss_before(self, team: str, repeat: Repeat) -> FaultRecord | None:
        """Return the last fault that lost the settlement of the push, which explains the repeat."""
        found = [fault for fault in self.faults if self._has_lost(fault, team, repeat)]
        return found[-1] if found else None

    def is_from_lost_primary(self, first: First) -> bool:
        """Return True if the event was pushed while the primary of its shard was about to be lost.

        What it had routed and settled last may be routed and pushed again from the new one, in another order.
        """
        shard = shard_of_event(first.number, self.shards)
        return any(shard in fault.moved and _is_lost_with(fault, first.at) for fault in self.faults)

    def _has_lost(self, fault: FaultRecord, team: str, repeat: Repeat) -> bool:
        if fault.began >= repeat.again:
            return False
        if shard_of_event(repeat.number, self.shards) in fault.moved and _is_lost_with(fault, repeat.first):
            return True
        is_deletion = fault.kind in _DELETIONS and team in fault.targets
        return is_deletion and repeat.first - _NOTICED_WITHIN < fault.ended


def _is_lost_with(fault: FaultRecord, moment: float) -> bool:
    return fault.began - _ANSWERED_BEFORE <= moment <= (fault.moved_by or fault.ended)
