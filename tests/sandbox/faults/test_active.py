"""Selection and combination of the active faults for events and calls."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from relay.sandbox.faults.active import CallEffects, DeliveryEffects, Faults
from relay.sandbox.faults.models import FAULT_REQUEST, Disable
from tests.sandbox.running import LINE, OTHER_LINE


def faults_of(*requests: dict[str, Any]) -> Faults:
    faults = Faults()
    for request in requests:
        fault = FAULT_REQUEST.validate_python(request)
        assert not isinstance(fault, Disable)
        faults.add(fault)
    return faults


def test_no_faults_have_no_effects() -> None:
    assert Faults().effects_on_event("message.sent", LINE) == DeliveryEffects()
    assert Faults().effects_on_call("GET", "/v3/phone_numbers") == CallEffects()


def test_kinds_add_up_and_oldest_of_a_kind_wins() -> None:
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
    effects = faults.effects_on_event("message.sent", LINE)
    assert (effects.copies, effects.offset, effects.is_forged, effects.only) == (3, -600, True, "legacy")
    assert effects.delayed_by is not None
    assert effects.delayed_by.active is faults.active[5]
    assert effects.kinds == ("duplicate", "timestamp", "forge", "headers", "reorder")


def test_fault_ends_after_its_count() -> None:
    faults = faults_of({"kind": "forge", "count": 2})
    hits = [faults.effects_on_event("message.sent", LINE).is_forged for _ in range(4)]
    assert hits == [True, True, False, False]
    assert faults.active == []


def test_next_fault_of_a_kind_follows_an_ended_one() -> None:
    faults = faults_of({"kind": "duplicate", "times": 3, "count": 1}, {"kind": "duplicate", "times": 5, "count": 1})
    assert [faults.effects_on_event("message.sent", LINE).copies for _ in range(3)] == [3, 5, 1]


def test_events_outside_the_filter_are_not_counted() -> None:
    faults = faults_of({"kind": "forge", "count": 1, "events": ["message.*"], "line": LINE})
    for event_type, line in (("message.sent", OTHER_LINE), ("message.sent", None), ("reaction.added", LINE)):
        assert not faults.effects_on_event(event_type, line).is_forged
    assert faults.effects_on_event("message.read", LINE).is_forged


def test_share_is_repeatable_by_seed() -> None:
    def hits(seed: int) -> list[bool]:
        faults = faults_of({"kind": "forge", "share": 0.3, "seed": seed})
        return [faults.effects_on_event("message.sent", LINE).is_forged for _ in range(1000)]

    assert hits(1) == hits(1) != hits(2)
    assert 200 < sum(hits(1)) < 400


def test_calls_are_filtered_by_method_and_path() -> None:
    faults = faults_of(
        {"kind": "api_error", "status": 429, "retry_after": 5, "method": "POST", "path": "/v3/webhook-sub"},
        {"kind": "api_slow", "seconds": 0.5, "path": "/v3"},
    )
    assert faults.effects_on_call("GET", "/v2/phone_numbers") == CallEffects()
    assert faults.effects_on_call("GET", "/v3/webhook-subscriptions") == CallEffects(delay=0.5)
    delay, failure, _ = faults.effects_on_call("POST", "/v3/webhook-subscriptions")
    assert failure is not None
    assert (delay, failure.status, failure.retry_after) == (0.5, 429, 5)


def test_faults_are_removed_by_id_or_all() -> None:
    faults = faults_of({"kind": "forge"}, {"kind": "duplicate"}, {"kind": "late"})
    assert [active.id for active in faults.active] == [1, 2, 3]
    assert faults.clear(2) == 1
    assert faults.clear(2) == 0
    assert [active.as_json()["kind"] for active in faults.active] == ["forge", "late"]
    assert faults.clear() == 2
    assert faults.effects_on_event("message.sent", LINE) == DeliveryEffects()


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
def test_invalid_fault_is_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FAULT_REQUEST.validate_python(wrong)
