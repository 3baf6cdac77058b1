"""Filters: every criterion narrows, and a record without the field never matches."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.delivery.outcome import Outcome
from relay.core.event_filter import Candidate, EventFilter

WHOLE = Candidate("e-1", "message.received", "+1", "chat", "m", "t", "status 404", Outcome.FAILED, 1000)
GOOD: list[dict[str, Any]] = [
    {"event_type": "message.*"},
    {"line": "+1"},
    {"event_ids": ("e-1", "e-2")},
    {"chat": "chat"},
    {"message": "m"},
    {"trace": "t"},
    {"reason": "404"},
    {"outcomes": [Outcome.FAILED]},
    {"since_ms": 1000},
    {"until_ms": 1001},
]
BAD: list[dict[str, Any]] = [
    {"event_type": "call.*"},
    {"line": "+2"},
    {"event_ids": {"e-2"}},
    {"chat": "other"},
    {"message": "other"},
    {"trace": "other"},
    {"reason": "500"},
    {"outcomes": [Outcome.DELIVERED]},
    {"since_ms": 1001},
    {"until_ms": 1000},
]


def test_filter_without_criteria_matches_everything() -> None:
    assert EventFilter().is_any
    assert EventFilter().matches(WHOLE)
    assert EventFilter().matches(Candidate())


@pytest.mark.parametrize("criterion", GOOD, ids=str)
def test_criterion_matches_its_field_and_not_a_missing_one(criterion: dict[str, Any]) -> None:
    which = EventFilter(**criterion)
    assert not which.is_any
    assert which.matches(WHOLE)
    assert not which.matches(Candidate())


@pytest.mark.parametrize("criterion", BAD, ids=str)
def test_single_failing_criterion_excludes_the_record(criterion: dict[str, Any]) -> None:
    everything = {name: value for good in GOOD for name, value in good.items()}
    assert EventFilter(**everything).matches(WHOLE)
    assert not EventFilter(**{**everything, **criterion}).matches(WHOLE)
