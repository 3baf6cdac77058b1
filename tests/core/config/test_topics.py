from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.config.topics import Topic, TopicIndex, failed_conditions, mismatches
from relay.core.event import Event, Freshness, PayloadFields
from relay.core.patterns import patterns_that_match
from relay.linq.payloads.content import BodyContent
from tests.building import LINE, OTHER_LINE
from tests.properties import quick

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.conditions.content import Content


def topic(name: str = "topic", *events: str, **rule: Any) -> Topic:
    """Return a topic of these events, or of every event by default."""
    return Topic(name=name, events=events or ("*",), **rule)


def event(event_type: str = "message.received", line: str | None = LINE, **fields: Any) -> Event:
    """Return an event of this type and line."""
    return Event(id="e", type=event_type, version="2026-02-03", line=line, fields=PayloadFields(**fields))


class NoFacts:
    """Facts for topics that ask for none."""

    def read(self, *_: object) -> Content:
        raise AssertionError("the body is read though no topic asks for it")

    def undecided(self, *_: object) -> None:
        raise AssertionError("no topic has an expression")


NOTHING = BodyContent(b"")


def match(topics: Iterable[Topic], what: Event) -> tuple[str, ...]:
    """Return the names of the topics that match the event."""
    return TopicIndex(topics).match(what, b"", NoFacts())


# --- patterns and lines ---------------------------------------------------------------------------


def test_event_matches_each_topic_once_in_file_order() -> None:
    topics = [
        topic("z-everything", "*"),
        topic("received", "message.received", "message.*", "*"),
        topic("sent", "message.sent"),
        topic("a-messages", "message.*", lines=[LINE, OTHER_LINE]),
    ]
    assert match(topics, event()) == ("z-everything", "received", "a-messages")


def test_topic_with_duplicate_patterns_matches_once() -> None:
    topics = [topic("t", "*", "message.*", "*", lines=[LINE, LINE])]
    assert match(topics, event()) == ("t",)


@pytest.mark.parametrize(
    ("line", "names"),
    [(LINE, ("ours", "every")), (OTHER_LINE, ("other", "every")), ("+19995550100", ("every",)), (None, ("every",))],
)
def test_topic_without_lines_matches_every_line_and_none(line: str | None, names: tuple[str, ...]) -> None:
    topics = [topic("ours", lines=[LINE]), topic("other", lines=[OTHER_LINE]), topic("every")]
    assert match(topics, event(line=line)) == names


def test_without_topics_an_event_matches_none() -> None:
    assert match([], event()) == ()


# --- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "fields", "reason"),
    [
        ({"direction": "inbound"}, {"direction": "inbound"}, None),
        ({"direction": "inbound"}, {"direction": "outbound"}, "direction is outbound, not inbound"),
        ({"direction": "inbound"}, {}, "direction is unknown, not inbound"),
        ({"service": "SMS"}, {"service": "SMS"}, None),
        ({"service": ["SMS", "RCS"]}, {"service": "RCS"}, None),
        ({"service": ["SMS", "RCS"]}, {"service": "iMessage"}, "service is iMessage, not SMS or RCS"),
        ({"service": "SMS"}, {}, "service is unknown, not SMS"),
        ({"is_group": True}, {"is_group": True}, None),
        ({"is_group": False}, {"is_group": False}, None),
        ({"is_group": True}, {"is_group": False}, "is_group is false, not true"),
        ({"is_group": False}, {"is_group": True}, "is_group is true, not false"),
        ({"is_group": False}, {}, "is_group is unknown, not false"),
        ({"freshness": "live"}, {}, None),
        ({"freshness": "history"}, {"reconciled_at": "2026-09-15T00:00:00Z"}, None),
        ({"freshness": "live"}, {"reconciled_at": "2026-09-15T00:00:00Z"}, "freshness is history, not live"),
        ({"freshness": "history"}, {}, "freshness is live, not history"),
    ],
)
def test_condition_matches_or_has_a_reason(rule: dict[str, Any], fields: dict[str, Any], reason: str | None) -> None:
    candidate, what = topic("t", **rule), event(**fields)
    assert list(failed_conditions(candidate, what, NOTHING)) == ([] if reason is None else [reason])
    assert match([candidate], what) == (("t",) if reason is None else ())


def test_all_mismatch_reasons_are_returned() -> None:
    candidate = topic("t", "reaction.*", "call.ended", lines=[LINE], direction="outbound", service="SMS", is_group=True)
    assert mismatches(candidate, event(line=OTHER_LINE, direction="inbound", service="RCS"), NOTHING) == [
        "type message.received matches none of reaction.*, call.ended",
        f"line {OTHER_LINE} is not one of {LINE}",
        "direction is inbound, not outbound",
        "service is RCS, not SMS",
        "is_group is unknown, not true",
    ]


def test_event_without_a_line_has_its_own_reason() -> None:
    reasons = mismatches(topic("t", lines=[LINE]), event(line=None), NOTHING)
    assert reasons == [f"only for {LINE}, and the event proves no line"]


def test_topic_lists_the_conditions_that_it_sets() -> None:
    assert topic("t", "message.*", lines=[LINE]).conditions == ()
    found = topic("t", freshness="live", is_group=False, where="data", sender=LINE).conditions
    assert [(each.name, each.wanted, each.reads_body) for each in found] == [
        ("is_group", "false", False),
        ("freshness", "live", False),
        ("sender", LINE, True),
        ("where", "data", True),
    ]


# --- the index agrees with the rules --------------------------------------------------------------

TYPES = ["message.received", "message.sent", "message.a.b", "chat.typing_indicator.started", "reaction.added", "call"]
PATTERNS = ["*", "message.*", "message.a.*", "message.received", "chat.*", "chat.typing_indicator.*", "reaction.added"]
LINES = [LINE, OTHER_LINE, "+19995550100"]
SERVICES = ["iMessage", "RCS", "SMS"]

rules = st.fixed_dictionaries(
    {"events": st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)},
    optional={
        "lines": st.lists(st.sampled_from(LINES), min_size=1, max_size=3),
        "direction": st.sampled_from(["inbound", "outbound"]),
        "service": st.sampled_from(SERVICES) | st.lists(st.sampled_from(SERVICES), min_size=1, max_size=2),
        "is_group": st.booleans(),
        "freshness": st.sampled_from(Freshness),
    },
)
topic_lists = st.lists(rules, max_size=8).map(
    lambda drawn: [Topic.model_validate({"name": f"topic-{place}", **rule}) for place, rule in enumerate(drawn)]
)
events = st.builds(
    Event,
    id=st.just("e"),
    type=st.sampled_from(TYPES) | st.text(max_size=8),
    version=st.just("2026-02-03"),
    line=st.sampled_from([*LINES, None]),
    fields=st.builds(
        PayloadFields,
        direction=st.sampled_from(["inbound", "outbound", None]),
        service=st.sampled_from([*SERVICES, "Fax", None]),
        is_group=st.sampled_from([True, False, None]),
        reconciled_at=st.sampled_from(["2026-09-15T00:00:00Z", None]),
    ),
)


def simply_matches(candidate: Topic, what: Event) -> bool:
    """Return True if the event matches the topic, by a simple matcher without an index."""
    fields = what.fields
    return (
        any(
            pattern in {"*", what.type} or (pattern[-2:] == ".*" and what.type.startswith(pattern[:-1]))
            for pattern in candidate.events
        )
        and (candidate.lines is None or what.line in candidate.lines)
        and (candidate.direction is None or candidate.direction == fields.direction)
        and (candidate.service is None or fields.service in candidate.service)
        and (candidate.is_group is None or candidate.is_group is fields.is_group)
        and (candidate.freshness is None or (candidate.freshness == "history") is (fields.reconciled_at is not None))
    )


@quick
@given(topic_lists, st.lists(events, min_size=1, max_size=4))
def test_index_and_reasons_agree_with_a_simple_matcher(topics: list[Topic], some: list[Event]) -> None:
    index = TopicIndex(topics)
    for what in some:
        expected = tuple(found.name for found in topics if simply_matches(found, what))
        assert tuple(found.name for found in topics if not mismatches(found, what, NOTHING)) == expected
        assert index.match(what, b"", NoFacts()) == expected
        assert index.match(what, b"", NoFacts()) == expected  # from the cache


# --- what matching costs --------------------------------------------------------------------------


class Counted(dict[tuple[str, str | None], Any]):
    """A dictionary that counts its look-ups."""

    asked = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


@pytest.mark.parametrize("others", [0, 10, 2000])
def test_other_topics_are_not_looked_up(others: int) -> None:
    elsewhere = [topic(f"line-{n}", "message.*", lines=[f"+1999{n:07}"]) for n in range(others)]
    unrelated = [topic(f"type-{n}", f"hologram.n{n}") for n in range(others)]
    index = TopicIndex([*elsewhere, topic("ours", "message.*", lines=[LINE]), *unrelated, topic("all", "*")])
    index._by_key = counted = Counted(index._by_key)
    assert [found.name for found in index._candidates("message.received", LINE).topics] == ["ours", "all"]
    assert counted.asked == 2 * len(patterns_that_match("message.received"))


def test_candidates_of_type_and_line_are_cached() -> None:
    index = TopicIndex([topic("all", "*", direction="inbound")])
    index._by_key = counted = Counted(index._by_key)
    assert [index.match(event(direction=direction), b"", NoFacts()) for direction in ("inbound", "outbound")] == [
        ("all",),
        (),
    ]
    first = counted.asked
    index.match(event(direction="inbound"), b"", NoFacts())
    assert counted.asked == first
