"""Which faults hit an event or a call, and how often."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from relay.sandbox.faults.active import Faults, Treatment, Trouble
from relay.sandbox.faults.models import FAULT_REQUEST, Disable
from tests.sandbox.running import LINE, OTHER_LINE


def faults_of(*requests: dict[str, Any]) -> Faults:
    faults = Faults()
    for request in requests:
        fault = FAULT_REQUEST.validate_python(request)
        assert not isinstance(fault, Disable)
        faults.add(fault)
    return faults


def test_without_faults_nothing_happens() -> None:
    assert Faults().for_event("message.sent", LINE) == Treatment()
    assert Faults().for_call("GET", "/v3/phone_numbers") == Trouble()


def test_faults_of_different_kinds_add_up_and_of_one_kind_the_oldest_counts() -> None:
    faults = faults_of(
        {"kind": "duplicate", "times": 3},
        {"kind": "duplicate", "times": 9},
        {"kind": "timestamp", "offset": -600},
        {"kind": "forge"},
        {"kind": "headers", "only": "legacy"},
        {"kind": "reorder"},
        {"kind": "late"},
        {"kind": "api_error", "status": 500},
    )
    treatment = faults.for_event("message.sent", LINE)
    assert (treatment.copies, treatment.offset, treatment.is_forged, treatment.only) == (3, -600, True, "legacy")
    assert treatment.holder is not None
    assert treatment.holder.active is faults.active[5]
    assert treatment.kinds == ("duplicate", "timestamp", "forge", "headers", "reorder")


def test_a_fault_ends_when_it_has_hit_its_count() -> None:
    faults = faults_of({"kind": "forge", "count": 2})
    hits = [faults.for_event("message.sent", LINE).is_forged for _ in range(4)]
    assert hits == [True, True, False, False]
    assert faults.active == []


def test_the_next_of_its_kind_follows_one_that_has_ended() -> None:
    faults = faults_of({"kind": "duplicate", "times": 3, "count": 1}, {"kind": "duplicate", "times": 5, "count": 1})
    assert [faults.for_event("message.sent", LINE).copies for _ in range(3)] == [3, 5, 1]


def test_what_does_not_fit_is_neither_hit_nor_counted() -> None:
    faults = faults_of({"kind": "forge", "count": 1, "events": ["message.*"], "line": LINE})
    for event_type, line in (("message.sent", OTHER_LINE), ("message.sent", None), ("reaction.added", LINE)):
        assert not faults.for_event(event_type, line).is_forged
    assert faults.for_event("message.read", LINE).is_forged


def test_a_share_is_chosen_by_the_seed() -> None:
    def hits(seed: int) -> list[bool]:
        faults = faults_of({"kind": "forge", "share": 0.3, "seed": seed})
        return [faults.for_event("message.sent", LINE).is_forged for _ in range(1000)]

    assert hits(1) == hits(1) != hits(2)
    assert 200 < sum(hits(1)) < 400


def test_calls_are_filtered_by_method_and_path() -> None:
    faults = faults_of(
        {"kind": "api_error", "status": 429, "retry_after": 5, "method": "POST", "path": "/v3/webhook-sub"},
        {"kind": "api_slow", "seconds": 0.5, "path": "/v3"},
    )
    assert faults.for_call("GET", "/v2/phone_numbers") == Trouble()
    assert faults.for_call("GET", "/v3/webhook-subscriptions") == Trouble(seconds=0.5)
    seconds, failure = faults.for_call("POST", "/v3/webhook-subscriptions")
    assert failure is not None
    assert (seconds, failure.status, failure.retry_after) == (0.5, 429, 5)


def test_faults_are_cleared_one_by_one_or_all() -> None:
    faults = faults_of({"kind": "forge"}, {"kind": "duplicate"}, {"kind": "late"})
    assert [active.id for active in faults.active] == [1, 2, 3]
    assert faults.clear(2) == 1
    assert faults.clear(2) == 0
    assert [active.shown()["kind"] for active in faults.active] == ["forge", "late"]
    assert faults.clear() == 2
    assert faults.for_event("message.sent", LINE) == Treatment()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"kind": "gremlin"},
        {"kind": "forge", "count": 0},
        {"kind": "forge", "share": 0},
        {"kind": "forge", "share": 1.1},
        {"kind": "forge", "events": ["*.sent"]},
        {"kind": "forge", "line": "16465550123"},
        {"kind": "forge", "colour": "red"},
        {"kind": "duplicate", "times": 1},
        {"kind": "reorder", "window": 1},
        {"kind": "late", "seconds": 0},
        {"kind": "timestamp"},
        {"kind": "headers"},
        {"kind": "headers", "only": "both"},
        {"kind": "api_error"},
        {"kind": "api_error", "status": 404},
        {"kind": "api_error", "status": 500, "path": "v3"},
        {"kind": "api_slow"},
        {"kind": "disable"},
        {"kind": "disable", "line": LINE, "subscription_id": "x"},
    ],
    ids=str,
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FAULT_REQUEST.validate_python(wrong)
