from __future__ import annotations

import json

import pytest

from tests.chaos.timeline import Timeline


def test_count_within_a_time_span() -> None:
    timeline = Timeline()
    for at in (10.01, 10.02, 10.3, 11.0):
        timeline.record("accepted", at)
    assert timeline.total("accepted") == 4
    assert timeline.count("accepted", 10.0, 10.5) == 3
    assert timeline.count("accepted", 10.5, float("inf")) == 1
    assert timeline.count("anything else", 0, float("inf")) == 0


def test_time_until_the_next_occurrence() -> None:
    timeline = Timeline()
    timeline.record("accepted", 10.0)
    timeline.record("accepted", 13.26)
    assert timeline.first_after("accepted", 10.5) == pytest.approx(2.75)
    assert timeline.first_after("accepted", 13.26) == 0
    assert timeline.first_after("accepted", 14) is None


def test_json_round_trip() -> None:
    timeline = Timeline()
    timeline.record("got", 10.0, 5)
    timeline.record("again", 11.0)
    assert Timeline.decode(json.loads(json.dumps(timeline.encode()))).encode() == timeline.encode()
