"""The parts of a replay in the record of the first shard: they are read as they were written."""

from __future__ import annotations

from relay.store.topics.history import Span, Survey
from relay.store.topics.whole.replay_parts import Part, PartEnd, fields_of, parts_in, parts_of

SURVEYS = [Survey(Span("0-0", f"{n}-1"), events, events // 2, 1, n) for n, events in enumerate((4, 9, 0, 7), 1)]


def test_parts_are_those_of_other_shards_with_events() -> None:
    parts = parts_of(SURVEYS)
    assert parts == (Part(1, Span("0-0", "2-1"), 9, 4), Part(3, Span("0-0", "4-1"), 7, 3))
    fields = {str(name).encode(): str(value).encode() for name, value in fields_of(parts).items()}
    assert parts_in({b"topic": b"x", **fields}) == parts


def test_starts_and_ends_are_read() -> None:
    first, second = parts_of(SURVEYS)
    fields = {str(name).encode(): str(value).encode() for name, value in fields_of((first, second)).items()}
    end, other = PartEnd("failed", 3, 2, "5-1", "of some words"), PartEnd("done", 0, 0, "1-1", "")
    fields |= {first.started_field.encode(): b"1", first.ended_field.encode(): end.encode().encode()}
    fields[second.ended_field.encode()] = other.encode().encode()
    assert parts_in(fields) == (
        Part(1, first.span, first.events, first.matching, is_started=True, ended=end),
        Part(3, second.span, second.events, second.matching, ended=other),
    )
