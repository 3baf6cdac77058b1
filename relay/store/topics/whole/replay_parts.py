"""The parts of a replay on other shards than the first, as its record on the first one has them.

part:<n>           the span on shard n, its events, and those that match
part:<n>:started   1 once it was started there
part:<n>:ended     its result: state, entries processed, events sent, the last entry processed, the reason
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.store.topics.history import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.store.topics.history import Survey

_PREFIX = "part:"


class PartEnd(NamedTuple):
    """The result of a part."""

    state: str
    seen: int
    """The number of entries that were processed."""
    sent: int
    """The number of events that the lane got."""
    cursor: str
    """The last processed entry."""
    reason: str

    def encode(self) -> str:
        """Return it as the record has it."""
        return " ".join(map(str, self))

    @classmethod
    def decode(cls, text: str) -> PartEnd:
        """Return the result of that text."""
        state, seen, sent, cursor, reason = text.split(" ", 4)
        return cls(state, int(seen), int(sent), cursor, reason)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a replay on one shard."""

    shard: int
    span: Span
    events: int
    """The number of events in the span at the start."""
    matching: int
    """The number of events that matched."""
    is_started: bool = False
    """True if it is known to be started."""
    ended: PartEnd | None = None
    """None while it is not known to have ended."""

    @property
    def started_field(self) -> str:
        """The field that tells that it was started."""
        return f"{_PREFIX}{self.shard}:started"

    @property
    def ended_field(self) -> str:
        """The field with its result."""
        return f"{_PREFIX}{self.shard}:ended"


def parts_of(surveys: Sequence[Survey]) -> tuple[Part, ...]:
    """Return the parts for the spans of all shards, by number: of each with events, beside the first."""
    return tuple(
        Part(shard, survey.span, survey.events, survey.matching)
        for shard, survey in enumerate(surveys)
        if shard and survey.events
    )


def fields_of(parts: Iterable[Part]) -> dict[str | bytes, str | int | float | bytes]:
    """Return the fields of parts that are not started."""
    return {
        f"{_PREFIX}{part.shard}": f"{part.span.after} {part.span.end} {part.events} {part.matching}" for part in parts
    }


def parts_in(fields: Mapping[bytes, bytes]) -> tuple[Part, ...]:
    """Return the parts that a record has, by shard."""
    parts = []
    for name, value in fields.items():
        prefix, _, number = name.decode().rpartition(":")
        if f"{prefix}:" == _PREFIX and number.isdecimal():
            after, end, events, matching = value.decode().split(" ")
            part = Part(int(number), Span(after, end), int(events), int(matching))
            ended = fields.get(part.ended_field.encode())
            parts.append(
                Part(
                    *(part.shard, part.span, part.events, part.matching),
                    is_started=part.started_field.encode() in fields,
                    ended=None if ended is None else PartEnd.decode(ended.decode()),
                )
            )
    return tuple(sorted(parts, key=lambda part: part.shard))
