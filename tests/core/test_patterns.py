from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linq.types.webhook_event_type import WebhookEventType

from relay.core.patterns import matches, pattern_problem, patterns_that_match
from relay.linq.payloads.event_types import V2_TYPES
from tests.properties import quick

words = st.text("ab_-9", min_size=1, max_size=2)
event_types = st.lists(words, min_size=1, max_size=4).map(".".join)
patterns = st.just("*") | event_types | event_types.map(lambda family: f"{family}.*")


def simply_matches(pattern: str, event_type: str) -> bool:
    """Return True if the pattern matches, by a simple matcher without an index."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return event_type.startswith(pattern.removesuffix("*"))
    return pattern == event_type


# --- the syntax of a pattern ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "message.received", "message.*", "chat.typing_indicator.*", "chat.typing_indicator.started"),
        *("hologram", "Message.Received", "a-b.c_d.1.*", *get_args(WebhookEventType), *V2_TYPES),
    ],
)
def test_types_families_and_everything_are_patterns(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        *("", " ", "**", ".*", "*.received", "message*", "message.*.sent", "message.**", "message.", ".message"),
        *("message..received", "message.received ", " message.*", "message received", "message.received\n"),
        *("message/received", "mess[ae]ge.*", "message.?", "é.*", "message.*,reaction.*"),
    ],
)
def test_invalid_pattern_is_quoted_in_the_problem(pattern: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is not None
    assert problem.startswith(f'"{pattern}" is not an event-type pattern')


# --- matching -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*", ["message.received", "hologram", ""], []),
        ("message.received", ["message.received"], ["message.sent", "message", "message.received.late"]),
        ("message.*", ["message.received", "message.a.b"], ["message", "messages.received", "poll.message.received"]),
        ("poll.vote.*", ["poll.vote.added", "poll.vote.removed"], ["poll.updated", "poll.vote", "poll.votes.added"]),
        ("reaction.*", ["reaction.added", "reaction.received"], ["poll.reaction.added"]),
    ],
)  # fmt: skip
def test_pattern_matches_its_types_only(pattern: str, matching: list[str], other: list[str]) -> None:
    assert all(matches(pattern, event_type) for event_type in matching)
    assert not any(matches(pattern, event_type) for event_type in other)


@pytest.mark.parametrize(
    ("event_type", "patterns"),
    [
        ("hologram", ("hologram", "*")),
        ("message.sent", ("message.sent", "message.*", "*")),
        (".x", (".x", "*")),
        ("x.", ("x.", "x.*", "*")),
        ("a.b.c.d", ("a.b.c.d", "a.b.c.*", "a.b.*", "a.*", "*")),
    ],
)
def test_patterns_of_a_type_go_from_exact_to_star(event_type: str, patterns: tuple[str, ...]) -> None:
    assert patterns_that_match(event_type) == patterns


@quick
@given(patterns, event_types)
def test_pattern_agrees_with_a_simple_matcher(pattern: str, event_type: str) -> None:
    assert pattern_problem(pattern) is None
    assert matches(pattern, event_type) == simply_matches(pattern, event_type)


@quick
@given(st.text())
def test_every_type_matches_itself_and_star(event_type: str) -> None:
    found = patterns_that_match(event_type)
    assert (found[0], found[-1]) == (event_type, "*")
    assert all(simply_matches(pattern, event_type) for pattern in found)
