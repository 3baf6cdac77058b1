"""Routing: which topics an event belongs to.

A topic is a rule (event-type patterns x lines x conditions) and nothing else. `TopicIndex.match` looks up the few
patterns that an event type can match, with the event's line and without one, so that its cost grows with the topics
that match and not with the topics that exist. `mismatches` is the same rule asked for its reasons; `relay explain`
prints them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol, Self

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from relay.core.config.fields import Duration, Line, Name, Pattern, Size, Table, one_or_more
from relay.core.durations import parse_duration
from relay.core.event import Freshness
from relay.core.patterns import matches, patterns_that_match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from relay.core.event import Event

_CACHED_CANDIDATES = 4096  # pairs of event type and line: 75 types x some dozens of lines are alive at a time


DEFAULT_AGE = parse_duration("72h")
DEFAULT_SIZE = 2**30
DEFAULT_HARD_SIZE = 4 * 2**30


class Topic(Table):
    """One `[[topics]]` table: a named stream of the events that match."""

    name: Name
    events: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    lines: Annotated[tuple[Line, ...] | None, Field(min_length=1)] = None
    direction: Literal["inbound", "outbound"] | None = None
    service: Annotated[
        tuple[Literal["iMessage", "RCS", "SMS"], ...] | None, BeforeValidator(one_or_more), Field(min_length=1)
    ] = None
    is_group: StrictBool | None = None
    freshness: Freshness | None = None
    keep: Duration = DEFAULT_AGE
    """Seconds that an event is kept, and longer only where somebody still needs it."""
    size: Size = DEFAULT_SIZE
    """Bytes of Redis's memory that it may take before the oldest events go that nobody needs."""
    hard_size: Size = DEFAULT_HARD_SIZE
    """Bytes beyond which the oldest events go, whoever needs them."""

    @model_validator(mode="after")
    def _hard_is_more(self) -> Self:
        if self.hard_size < self.size:
            raise ValueError('"hard_size" has to be at least "size"')
        return self

    @cached_property
    def has_conditions(self) -> bool:
        """Whether patterns and lines alone do not decide."""
        return any(value is not None for value in (self.direction, self.service, self.is_group, self.freshness))


def failed_conditions(topic: Topic, event: Event) -> Iterator[str]:
    """Why `event` does not fulfil the topic's conditions; empty if it does. Patterns and lines are not looked at."""
    facts = event.fields
    if topic.direction is not None and facts.direction != topic.direction:
        yield f"direction is {facts.direction or 'unknown'}, not {topic.direction}"
    if topic.service is not None and facts.service not in topic.service:
        yield f"service is {facts.service or 'unknown'}, not {' or '.join(topic.service)}"
    if topic.is_group is not None and facts.is_group != topic.is_group:
        known = "unknown" if facts.is_group is None else str(facts.is_group).lower()
        yield f"is_group is {known}, not {str(topic.is_group).lower()}"
    if topic.freshness is not None and event.freshness != topic.freshness:
        yield f"freshness is {event.freshness}, not {topic.freshness}"


def mismatches(topic: Topic, event: Event) -> list[str]:
    """Every reason why `event` is not in `topic`; empty if it is."""
    reasons = []
    if not any(matches(pattern, event.type) for pattern in topic.events):
        reasons.append(f"type {event.type} matches none of {', '.join(topic.events)}")
    if topic.lines is not None and event.line not in topic.lines:
        reasons.append(f"line {event.line or 'is unknown and'} is not one of {', '.join(topic.lines)}")
    reasons.extend(failed_conditions(topic, event))
    return reasons


class Narrowing(Protocol):
    """What a subscription wants of its topic; None wants everything."""

    @property
    def events(self) -> Sequence[str] | None:
        """Patterns of event types."""

    @property
    def lines(self) -> Sequence[str] | None:
        """E.164."""

    @property
    def freshness(self) -> Freshness | None:
        """Only news, or only what Linq recovered later."""


def is_wanted(narrowing: Narrowing, event_type: str, line: str | None, freshness: Freshness) -> bool:
    """Whether a subscription wants an event of its topic."""
    return (
        (narrowing.events is None or any(matches(pattern, event_type) for pattern in narrowing.events))
        and (narrowing.lines is None or line in narrowing.lines)
        and (narrowing.freshness is None or freshness is narrowing.freshness)
    )


class _Candidates(NamedTuple):
    """The topics whose patterns and lines fit an event, in the file's order, each once."""

    topics: tuple[Topic, ...]
    names: tuple[str, ...]
    have_conditions: bool
    """Whether any of them has."""


class TopicIndex:
    """Topics compiled for matching; made once for every version of relay.toml."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        by_key: defaultdict[tuple[str, str | None], list[tuple[int, Topic]]] = defaultdict(list)
        for order, topic in enumerate(topics):
            for pattern in dict.fromkeys(topic.events):
                for line in topic.lines if topic.lines is not None else (None,):
                    by_key[pattern, line].append((order, topic))
        self._by_key = dict(by_key)
        self._candidates = lru_cache(_CACHED_CANDIDATES)(self._find_candidates)

    def _find_candidates(self, event_type: str, line: str | None) -> _Candidates:
        found: dict[int, Topic] = {}
        for pattern in patterns_that_match(event_type):
            found.update(self._by_key.get((pattern, None), ()))
            if line is not None:
                found.update(self._by_key.get((pattern, line), ()))
        topics = tuple(topic for _, topic in sorted(found.items(), key=lambda item: item[0]))
        names = tuple(topic.name for topic in topics)
        return _Candidates(topics, names, any(topic.has_conditions for topic in topics))

    def match(self, event: Event) -> tuple[str, ...]:
        """The names of the topics that `event` belongs to, in the order of relay.toml."""
        topics, names, have_conditions = self._candidates(event.type, event.line)
        if not have_conditions:
            return names
        return tuple(topic.name for topic in topics if next(failed_conditions(topic, event), None) is None)
