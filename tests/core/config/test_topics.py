from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.config.topics import Topic, TopicIndex, failed_conditions, mismatches
from relay.core.event import Event, Freshness, PayloadFields
from relay.core.patterns import patterns_that_match
from tests.building import LINE, OTHER_LINE
from tests.properties import quick

if TYPE_CHECKING:
    from collections.abc import Iterable


def topic(name: str = "topic", *events: str, **rule: Any) -> Topic:
    """A topic of these events; of every event if there are none."""
    return Topic(name=name, events=events or ("*",), **rule)


def event(event_type: str = "message.received", line: str | None = LINE, **facts: Any) -> Event:
    """An event of this type and line."""
    return Event(id="e", type=event_type, version="2026-02-03", line=line, fields=PayloadFields(**facts))


def match(topics: Iterable[Topic], what: Event) -> tuple[str, ...]:
    """The names of those of `topics` that `what` belongs to."""
    return TopicIndex(topics).match(what)


# --- patterns and lines ---------------------------------------------------------------------------


def test_an_event_belongs_to_each_topic_once_in_the_order_of_the_file() -> None:
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
def test_a_topic_without_lines_has_every_line_and_events_without_one(line: str | None, names: tuple[str, ...]) -> None:
    topics = [topic("ours", lines=[LINE]), topic("other", lines=[OTHER_LINE]), topic("every")]
    assert match(topics, event(line=line)) == names


def test_without_topics_an_event_belongs_to_none() -> None:
    assert match([], event()) == ()


# --- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "facts", "reason"),
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
def test_condition_holds_or_has_a_reason(rule: dict[str, Any], facts: dict[str, Any], reason: str | None) -> None:
    one, what = topic("t", **rule), event(**facts)
    assert list(failed_conditions(one, what)) == ([] if reason is None else [reason])
    assert match([one], what) == (("t",) if reason is None else ())


def test_every_reason_is_given_at_once() -> None:
    one = topic("t", "reaction.*", "call.ended", lines=[LINE], direction="outbound", service="SMS", is_group=True)
    assert mismatches(one, event(line=OTHER_LINE, direction="inbound", service="RCS")) == [
        "type message.received matches none of reaction.*, call.ended",
        f"line {OTHER_LINE} is not one of {LINE}",
        "direction is inbound, not outbound",
        "service is RCS, not SMS",
        "is_group is unknown, not true",
    ]


def test_an_event_without_a_line_says_so() -> None:
    reasons = mismatches(topic("t", lines=[LINE]), event(line=None))
    assert reasons == [f"line is unknown and is not one of {LINE}"]


def test_a_topic_with_conditions_knows_it() -> None:
    assert not topic("t", "message.*", lines=[LINE]).has_conditions
    assert topic("t", is_group=False).has_conditions
    assert topic("t", freshness="live").has_conditions


# --- the index is the same rule -------------------------------------------------------------------

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


def plainly_belongs(one: Topic, what: Event) -> bool:
    """What a rule means, without an index in mind."""
    facts = what.fields
    return (
        any(
            pattern in {"*", what.type} or (pattern[-2:] == ".*" and what.type.startswith(pattern[:-1]))
            for pattern in one.events
        )
        and (one.lines is None or what.line in one.lines)
        and (one.direction is None or one.direction == facts.direction)
        and (one.service is None or facts.service in one.service)
        and (one.is_group is None or one.is_group is facts.is_group)
        and (one.freshness is None or (one.freshness == "history") is (facts.reconciled_at is not None))
    )


@quick
@given(topic_lists, st.lists(events, min_size=1, max_size=4))
def test_the_index_the_reasons_and_the_plain_meaning_agree(topics: list[Topic], some: list[Event]) -> None:
    index = TopicIndex(topics)
    for what in some:
        expected = tuple(one.name for one in topics if plainly_belongs(one, what))
        assert tuple(one.name for one in topics if not mismatches(one, what)) == expected
        assert index.match(what) == expected
        assert index.match(what) == expected  # from the cache


# --- what matching costs --------------------------------------------------------------------------


class Counted(dict[tuple[str, str | None], Any]):
    """A dictionary that counts how often it is asked."""

    asked = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


@pytest.mark.parametrize("others", [0, 10, 2000])
def test_topics_that_do_not_match_cost_nothing(others: int) -> None:
    elsewhere = [topic(f"line-{n}", "message.*", lines=[f"+1999{n:07}"]) for n in range(others)]
    unrelated = [topic(f"type-{n}", f"hologram.n{n}") for n in range(others)]
    index = TopicIndex([*elsewhere, topic("ours", "message.*", lines=[LINE]), *unrelated, topic("all", "*")])
    index._by_key = counted = Counted(index._by_key)
    assert [one.name for one in index._candidates("message.received", LINE).topics] == ["ours", "all"]
    assert counted.asked == 2 * len(patterns_that_match("message.received"))


def test_candidates_of_type_and_line_are_cached() -> None:
    index = TopicIndex([topic("all", "*", direction="inbound")])
    index._by_key = counted = Counted(index._by_key)
    assert [index.match(event(direction=direction)) for direction in ("inbound", "outbound")] == [("all",), ()]
    first = counted.asked
    index.match(event(direction="inbound"))
    assert counted.asked == first
