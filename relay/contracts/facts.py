"""Facts that the relay reads from payloads, counted by event type and payload version.

Counting is all that happens for an event, under half a microsecond, and in full batches only for every fourth. What
follows from the counts is done every two seconds, and a body is only kept for the first event of its kind since then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from relay.core.event import api_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.event import Dialect, Event

FACTS = ("line", "chat", "message", "direction", "service")
"""Facts, in the order in which `Reading` has them."""

_MAX_READINGS = 2000  # kinds of readings in hand: far more than Linq has types, and a bound all the same
_MAX_VERSION = 64  # characters


class Pair(NamedTuple):
    """An event type in a payload version."""

    type: str
    version: str
    """A v3 `webhook_version` such as `2026-02-03`, or `v2`."""

    @property
    def api(self) -> Dialect:
        """Webhook API of Linq that has payloads of this version."""
        return api_of(self.version)

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


@dataclass(slots=True)
class Count:
    """The number of events of a reading."""

    events: int
    body: bytes
    """The body of the first of them."""


class Readings:
    """The readings of a process since they were taken last."""

    def __init__(self) -> None:
        self._counts: dict[Reading, Count] = {}
        self._known: set[Reading] = set()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, events: Iterable[tuple[Event, bytes]], weight: int = 1) -> bool:
        """Count the facts of events, each with its body; return True if one is the first of its kind here.

        Each stands for `weight` events.
        """
        counts, is_new = self._counts, False
        for event, body in events:
            line, chat, message, direction, service = event.fields[:5]  # in the order of FACTS
            reading = (
                event.type,
                event.version,
                line is None,
                chat is None,
                message is None,
                direction is None,
                service is None,
            )
            count = counts.get(reading)  # one look-up: a tuple is hashed again for each
            if count is not None:
                count.events += weight
            elif len(counts) < _MAX_READINGS:
                counts[reading] = Count(weight, body)
                is_new = is_new or reading not in self._known
        return is_new

    def take(self) -> dict[Reading, Count]:
        """Return all readings, and begin again."""
        taken, self._counts = self._counts, {}
        if len(self._known) > _MAX_READINGS:
            self._known.clear()
        self._known.update(taken)
        return taken

    def give_back(self, taken: Mapping[Reading, Count]) -> None:
        """Keep readings that could not be stored until the next time."""
        for reading, count in taken.items():
            self._counts.setdefault(reading, Count(0, count.body)).events += count.events


def tallies_of(readings: Mapping[Reading, Count]) -> dict[Pair, Tally]:
    """Return the counts by pair."""
    tallies: dict[Pair, Tally] = {}
    for reading, count in readings.items():
        event_type, version, *lacking = reading
        tally = tallies.setdefault(Pair(event_type, version[:_MAX_VERSION]), Tally())
        facts = frozenset(fact for fact, lacks in zip(FACTS, lacking, strict=True) if not lacks)
        tally.events += count.events
        for fact in facts:
            tally.facts[fact] += count.events
        tally.bodies[facts] = count.body
    return tallies
