from __future__ import annotations

import json

import pytest

from tests.chaos.timeline import Timeline


def test_it_counts_what_happened_in_a_span_of_time() -> None:
    timeline = Timeline()
    for at in (10.01, 10.02, 10.3, 11.0):
        timeline.note("accepted", at)
    assert timeline.total("accepted") == 4
    assert timeline.count("accepted", 10.0, 10.5) == 3
    assert timeline.count("accepted", 10.5, float("inf")) == 1
    assert timeline.count("anything else", 0, float("inf")) == 0


def test_it_tells_how_long_it_took_until_something_happened_again() -> None:
    timeline = Timeline()
    timeline.note("accepted", 10.0)
    timeline.note("accepted", 13.26)
    assert timeline.first_after("accepted", 10.5) == pytest.approx(2.75)
    assert timeline.first_after("accepted", 13.26) == 0
    assert timeline.first_after("accepted", 14) is None


def test_it_goes_from_one_process_to_another_as_json() -> None:
    timeline = Timeline()
    timeline.note("got", 10.0, 5)
    timeline.note("again", 11.0)
    assert Timeline.decode(json.loads(json.dumps(timeline.encode()))).encode() == timeline.encode()
