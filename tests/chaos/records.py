"""What a run leaves to be judged. Events are numbers here, places in byte strings: a million is a megabyte."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.timeline import Timeline

DELETE_LANE_GROUPS = "delete-lane-groups"
"""The one fault that has the relay push again what it has settled: there is nobody left who knows."""
_IN_FLIGHT = 10.0
"""Seconds that a push may have been under way when the group was deleted; its answer counts for nothing then."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that was made, in monotonic seconds."""

    kind: str
    began: float
    ended: float
    whom: tuple[str, ...] = ()
    """The processes, or the teams, that it hit."""

    def distance(self, moment: float) -> float:
        """Seconds between a moment and the fault; 0 while it lasts."""
        return max(self.began - moment, moment - self.ended, 0.0)


class Repeat(NamedTuple):
    """A push of an event that the team had before, in monotonic seconds."""

    number: int
    first: float
    again: float


@dataclass(slots=True)
class TopicRecord:
    """What a topic's stream holds."""

    times: bytearray
    """How often each event is in it."""
    wrong: list[str] = field(default_factory=list)
    """What should not be there at all."""


@dataclass(frozen=True, slots=True)
class TeamRecord:
    """What a team has got."""

    times: bytes
    """How often each event."""
    timeline: Timeline = field(default_factory=Timeline)
    """`got` for the first time of an event."""
    repeats: list[Repeat] = field(default_factory=list)
    """Every further one."""
    dead: frozenset[int] = frozenset()
    """Its dead letters."""
    wrong: list[str] = field(default_factory=list)
    """Signatures that did not hold, bodies that were changed, events that nobody sent."""


@dataclass(frozen=True, slots=True)
class Records:
    """Everything."""

    states: bytes
    """What became of each event at the sender (`tests.chaos.linq`)."""
    linq: Timeline
    """`sent`, `accepted`, `answered 503` ..., `unanswered`."""
    refused: list[str]
    """What the sender was refused, or gave up."""
    topics: dict[str, TopicRecord]
    teams: dict[str, TeamRecord]
    """The push teams, by name."""
    pulled: TeamRecord
    ledger: dict[str, Any]
    """What `relay ledger --json` said."""
    deaths: list[str]
    troubles: list[str]
    """Lines of the relay's logs that tell of a bug."""
    unrest: str
    """What did not come to rest; empty if everything did."""
    happened: list[Happened] = field(default_factory=list)

    @property
    def pushes(self) -> int:
        """Events that were pushed and answered 2xx, every time counted."""
        return sum(sum(team.times) for team in self.teams.values())

    @property
    def repeats(self) -> int:
        """How many of them were not the first of their event."""
        return self.pushes - sum(len(team.times) - team.times.count(0) for team in self.teams.values())

    @property
    def owed_repeats(self) -> int:
        """How many of those come from the deletion of their lane's group."""
        return sum(self.is_owed(name, repeat) for name, team in self.teams.items() for repeat in team.repeats)

    def is_owed(self, team: str, repeat: Repeat) -> bool:
        """Whether the lane's group was deleted after the first push, or during it, and before the repeat."""
        return any(
            one.kind == DELETE_LANE_GROUPS
            and team in one.whom
            and repeat.first - _IN_FLIGHT < one.ended
            and one.began < repeat.again
            for one in self.happened
        )
