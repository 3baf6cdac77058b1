"""What a run leaves to be judged. Events are numbers here, places in byte strings: a million is a megabyte."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that was made, in monotonic seconds."""

    kind: str
    began: float
    ended: float
    said: str


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
    """`got` for the first time of an event, `again` for every further one."""
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
    def repeats(self) -> dict[str, int]:
        """How many of them were not the first of their event, by team."""
        return {name: sum(team.times) - _different(team) for name, team in self.teams.items()}

    @property
    def owed_repeats(self) -> dict[str, int]:
        """How many of those the ledger has given out again, because somebody deleted the lane's group."""
        given = {row["subscription"]: row["repeated"] for row in self.ledger.get("subscriptions", ())}
        return {name: min(count, given.get(name, 0)) for name, count in self.repeats.items()}


def _different(team: TeamRecord) -> int:
    return len(team.times) - team.times.count(0)
