"""Facts that the relay reads from payloads, counted by event type and payload version.

Counting is all that happens for an event, about a third of a microsecond; what follows from the counts is done once a
second at most, and a body is only kept for the first event of its kind since then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.event import Event

FACTS = ("line", "chat", "message", "direction", "service")
"""Facts, in the order in which `Reading` has them."""

_MAX_READINGS = 2000  # kinds of readings in hand: far more than Linq has types, and a bound all the same
_MAX_VERSION = 64  # characters


class Pair(NamedTuple):
    """An event type in a payload version."""

    type: str
    version: str
    """A v3 `webhook_version` such as `2026-02-03`, or `v2`."""

    def __str__(self) -> str:
        return f"{self.type} {self.version}"

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Return the pair that is written as `text`; a type has no space."""
        event_type, _, version = text.partition(" ")
        return cls(event_type, version)


Reading = tuple[str, str, bool, bool, bool, bool, bool]
"""Type and version of an event, and for each of `FACTS` whether its payload lacks it."""


@dataclass(slots=True)
class Tally:
    """Counts of the events of a pair."""

    events: int = 0
    facts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FACTS, 0))
    """The number of events with each fact."""
    bodies: dict[frozenset[str], bytes] = field(default_factory=dict)
    """A body for each set of facts that occurred."""

    def body_without(self, fact: str) -> bytes | None:
        """Return the body of an event without `fact`; None if there was none."""
        return next((body for facts, body in self.bodies.items() if fact not in facts), None)

    def fullest_body(self) -> bytes | None:
        """Return the body of an event with the most facts; None if none was kept."""
        best = max(self.bodies, key=len, default=None)
        return None if best is None else self.bodies[best]


class Taken(NamedTuple):
    """Readings that were taken to be stored."""

    counts: dict[Reading, int]
    bodies: dict[Reading, bytes]
    """The body of the first event of each."""

    def tallies(self) -> dict[Pair, Tally]:
        """Return the counts by pair."""
        tallies: dict[Pair, Tally] = {}
        for reading, count in self.counts.items():
            event_type, version, *lacking = reading
            tally = tallies.setdefault(Pair(event_type, version[:_MAX_VERSION]), Tally())
            facts = frozenset(fact for fact, lacks in zip(FACTS, lacking, strict=True) if not lacks)
            tally.events += count
            for fact in facts:
                tally.facts[fact] += count
            tally.bodies[facts] = self.bodies[reading]
        return tallies


class Readings:
    """The readings of a process since they were taken last."""

    def __init__(self) -> None:
        self._counts: dict[Reading, int] = {}
        self._bodies: dict[Reading, bytes] = {}
        self._known: set[Reading] = set()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, events: Iterable[tuple[Event, bytes]]) -> bool:
        """Count the facts of events, each with its body; return True if one is the first of its kind here."""
        counts, is_new = self._counts, False
        for event, body in events:
            fields = event.fields
            reading = (
                event.type,
                event.version,
                fields.line is None,
                fields.chat is None,
                fields.message is None,
                fields.direction is None,
                fields.service is None,
            )
            if reading in counts:
                counts[reading] += 1
            elif len(counts) < _MAX_READINGS:
                counts[reading] = 1
                self._bodies[reading] = body
                is_new = is_new or reading not in self._known
        return is_new

    def take(self) -> Taken:
        """Return all readings, and begin again."""
        taken = Taken(self._counts, self._bodies)
        self._counts, self._bodies = {}, {}
        if len(self._known) > _MAX_READINGS:
            self._known.clear()
        self._known.update(taken.counts)
        return taken

    def give_back(self, taken: Taken) -> None:
        """Keep readings that could not be stored until the next time."""
        for reading, count in taken.counts.items():
            self._counts[reading] = self._counts.get(reading, 0) + count
        self._bodies = self._bodies | taken.bodies
