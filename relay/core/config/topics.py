"""Routing rules: match events with topics.

A topic is a rule (event-type patterns x lines x conditions) and nothing else. `TopicIndex.match` looks up the few
patterns that an event type can match, with the event's line and without one, so that its cost grows with the topics
that match and not with the topics that exist. `mismatches` applies the same rule and returns the reasons;
`relay explain` prints them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, model_validator

from relay.core.conditions.checks import Condition, NoResult, conditions_of
from relay.core.conditions.handles import normalised_handle
from relay.core.conditions.where import checked_expression
from relay.core.config.fields import Duration, Line, Name, Pattern, Size, Table, one_or_more
from relay.core.durations import parse_duration
from relay.core.event import Freshness, api_of
from relay.core.patterns import matches, patterns_that_match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from relay.core.conditions.checks import Check
    from relay.core.conditions.content import Content, Facts
    from relay.core.event import Event

_CACHED_CANDIDATES = 4096  # pairs of event type and line: 75 types x some dozens of lines are in use at a time


_NOT_READ = cast("Content", None)  # for checks that do not look at it

Handles = Annotated[
    tuple[Annotated[str, AfterValidator(normalised_handle)], ...],
    BeforeValidator(one_or_more),
    Field(min_length=1),
]
Where = Annotated[str, AfterValidator(checked_expression)]

DEFAULT_AGE = parse_duration("72h")
DEFAULT_SIZE = 2**30
DEFAULT_HARD_SIZE = 4 * 2**30


class DeadBounds(Table):
    """The `dead` of a subscription or a topic: bounds of dead letters; the oldest beyond are deleted and counted."""

    keep: Duration = parse_duration("720h")
    """Time for which a dead letter is kept, such as `"720h"` (30 days)."""
    size: Size = 256 * 2**20
    """Maximum size of the dead letters in Redis's memory, such as `"256MiB"`: some 150,000 events of 1 kB. The log
    has an alarm at half of it (`dead_letters.filling`).
    """

    def share(self, parts: int) -> DeadBounds:
        """Return the bounds of each of so many shards."""
        return self if parts == 1 else self.model_copy(update={"size": self.size // parts})


class Topic(Table):
    """A `[[topics]]` table: a named stream of the events that match its rule.

    An event type, a line and every given condition must match; an event without a field does not match a condition on
    that field.
    """

    name: Name
    """Unique name: letters, digits, `.`, `_` and `-`, at most 64, such as `"support"`. It is part of the stream's key,
    `relay:topic:support`.
    """
    events: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    """Patterns of event types, of which one must match: an event type (`"message.received"`), a family (`"message.*"`)
    or everything (`"*"`).
    """
    lines: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    """Lines, in E.164, such as `["+16465550123"]`. Absent: every line, and events without a line."""
    direction: Literal["inbound", "outbound"] | None = None
    """Direction of the event: `"inbound"` or `"outbound"`. Absent: any."""
    service: (
        Annotated[tuple[Literal["iMessage", "RCS", "SMS"], ...], BeforeValidator(one_or_more), Field(min_length=1)]
        | None
    ) = None
    """Service of the message: `"iMessage"`, `"RCS"` or `"SMS"`, or a list of them. Absent: any."""
    is_group: StrictBool | None = None
    """`true` for group chats only, `false` for one-to-one chats only. Absent: both."""
    freshness: Freshness | None = None
    """`"live"` for new events only, `"history"` for events that Linq recovered later only. Absent: both."""
    api: Literal["v3", "v2"] | None = None
    """Webhook API of Linq through which the event came: `"v3"` or `"v2"`. Absent: both."""
    account: Annotated[tuple[Name, ...], BeforeValidator(one_or_more), Field(min_length=1)] | None = None
    """Name of an account of `[[linq.accounts]]`, or a list of them. Absent: every account."""
    sender: Handles | None = None
    """Phone number or e-mail address of who sent it, or a list of them: of an inbound event the customer, of an
    outbound one the line. Absent: anybody, and events without a sender.
    """
    not_sender: Handles | None = None
    """Phone number or e-mail address, or a list of them, whose events are left out, such as those of a test phone.
    Events without a sender match.
    """
    has_media: StrictBool | None = None
    """`true` for messages with a file (picture, video, voice memo and so on) only, `false` for messages without one
    only. Absent: both, and events that are no message.
    """
    opt_out: Literal["stop", "start", True] | None = None
    """`"stop"` for received messages whose whole text is STOP, STOPALL, UNSUBSCRIBE, CANCEL, END or QUIT, `"start"` for
    START and UNSTOP, `true` for both. Absent: every event.
    """
    where: Where | None = None
    """Expression in [JMESPath](https://jmespath.org) on the whole body that must be true, such as
    `"data.parts[0].type == 'link'"`: at most 1,024 characters, with [bounds](topics.md#where).
    """
    keep: Duration = DEFAULT_AGE
    """Time for which an event is kept, such as `"72h"`; longer while a subscription or a pull group still needs it, up
    to `hard_size`.
    """
    size: Size = DEFAULT_SIZE
    """Size in Redis's memory, such as `"500MB"` or `"1GiB"`, above which the oldest events that no subscription or pull
    group needs are removed.
    """
    hard_size: Size = DEFAULT_HARD_SIZE
    """Size in Redis's memory, such as `"4GiB"`, above which the oldest events are removed even if they are still
    needed; the ledger counts these as lost. At least `size`.
    """
    exclusive: StrictBool = False
    """True if one push subscription at most may have the topic, so that a message is answered once; a second one is
    refused, shadows do not count, and `relay doctor` warns of pull groups beside it.
    """
    dead: DeadBounds = DeadBounds()
    """Limits of the dead letters of each pull group, such as `{ keep = "720h", size = "256MiB" }`; beyond them the
    oldest are deleted and counted.
    """

    @model_validator(mode="after")
    def _hard_size_is_larger(self) -> Self:
        if self.hard_size < self.size:
            raise ValueError('"hard_size" must be at least "size"')
        return self

    @model_validator(mode="after")
    def _senders_differ(self) -> Self:
        if both := sorted({*(self.sender or ())} & {*(self.not_sender or ())}):
            raise ValueError(f'"sender" and "not_sender" both have {", ".join(both)}; remove it from one of them')
        return self

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions that the topic sets beyond patterns and lines, in the order in which they are checked."""
        return conditions_of(self)


def failed_conditions(topic: Topic, event: Event, content: Content) -> Iterator[str]:
    """Yield a reason for each condition of the topic that `event` fails; patterns and lines are not checked."""
    for condition in topic.conditions:
        if (reason := condition.check(event, content)) is not None:
            yield reason


def mismatches(topic: Topic, event: Event, content: Content) -> list[str]:
    """Return every reason why `event` is not in `topic`; empty if it is."""
    reasons = []
    if not any(matches(pattern, event.type) for pattern in topic.events):
        reasons.append(f"type {event.type} matches none of {', '.join(topic.events)}")
    if topic.lines is not None and event.line not in topic.lines:
        reasons.append(_line_mismatch(topic.lines, event.line))
    reasons.extend(failed_conditions(topic, event, content))
    return reasons


def _line_mismatch(lines: Sequence[str], line: str | None) -> str:
    if line is None:
        return f"only for {', '.join(lines)}, and the event proves no line"
    return f"line {line} is not one of {', '.join(lines)}"


class Narrowing(Protocol):
    """Filter of a subscription on its topic; None matches everything."""

    @property
    def events(self) -> Sequence[str] | None:
        """Patterns of event types."""

    @property
    def lines(self) -> Sequence[str] | None:
        """E.164."""

    @property
    def freshness(self) -> Freshness | None:
        """Only new events, or only those that Linq recovered later."""

    @property
    def api(self) -> Literal["v3", "v2"] | None:
        """Only events of one API."""


def is_wanted(narrowing: Narrowing, event_type: str, line: str | None, freshness: Freshness, version: str) -> bool:
    """Return True if an event of the topic passes the filter of a subscription."""
    return (
        (narrowing.events is None or any(matches(pattern, event_type) for pattern in narrowing.events))
        and (narrowing.lines is None or line in narrowing.lines)
        and (narrowing.freshness is None or freshness is narrowing.freshness)
        and (narrowing.api is None or api_of(version) == narrowing.api)
    )


def filtered_by(narrowing: Narrowing, event: Event) -> list[str]:
    """Return every reason why `event` does not pass the filter of a subscription; empty if `is_wanted`."""
    reasons = []
    if narrowing.events is not None and not any(matches(pattern, event.type) for pattern in narrowing.events):
        reasons.append(f"type {event.type} matches none of {', '.join(narrowing.events)}")
    if narrowing.lines is not None and event.line not in narrowing.lines:
        reasons.append(_line_mismatch(narrowing.lines, event.line))
    if narrowing.freshness is not None and event.freshness is not narrowing.freshness:
        reasons.append(f"freshness is {event.freshness}, not {narrowing.freshness}")
    if narrowing.api is not None and event.api != narrowing.api:
        reasons.append(f"api is {event.api}, not {narrowing.api}")
    return reasons


class _Candidates(NamedTuple):
    """Topics whose patterns and lines match an event, in the order of the file, without duplicates."""

    topics: tuple[Topic, ...]
    names: tuple[str, ...]
    have_conditions: bool
    """True if any of them has conditions."""
    checks: tuple[tuple[str, tuple[Check, ...]], ...]
    """Name and checks of each."""
    read_body: bool
    """True if any of them has a condition on the body."""


class TopicIndex:
    """Topics compiled for matching; built once per version of relay.toml."""

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
        conditions = [condition for topic in topics for condition in topic.conditions]
        return _Candidates(
            topics,
            tuple(topic.name for topic in topics),
            bool(conditions),
            tuple((topic.name, tuple(condition.check for condition in topic.conditions)) for topic in topics),
            any(condition.reads_body for condition in conditions),
        )

    def match(self, event: Event, body: bytes, facts: Facts) -> tuple[str, ...]:
        """Return the names of the topics that match `event`, in the order of relay.toml.

        `facts` reads `body` if a topic that the event could match asks for more than its fields.
        """
        _, names, have_conditions, checks, read_body = self._candidates(event.type, event.line)
        if not have_conditions:
            return names
        content = facts.read(event, body) if read_body else _NOT_READ
        matching = []
        for name, checks_of_topic in checks:
            for check in checks_of_topic:
                if (reason := check(event, content)) is not None:
                    if type(reason) is NoResult:
                        facts.undecided(name, event, reason)
                    break
            else:
                matching.append(name)
        return tuple(matching)
