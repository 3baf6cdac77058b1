"""Fixtures: the same structure makes the same file, what is recorded has no differences, and changes are found."""

from __future__ import annotations

import json
import random
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contracts.facts import Pair
from relay.contracts.fixtures import Fixture, choose, compare, fixture_of, pair_of
from relay.contracts.shapes import differences, merged, shape_of
from tests.contracts.payloads import every_payload
from tests.properties import json_values, quick

if TYPE_CHECKING:
    from pathlib import Path

RECEIVED = Pair("message.received", "2026-02-03")


def fixture(data: dict[str, Any], pair: Pair = RECEIVED) -> Fixture:
    body = json.dumps({"event_type": pair.type, "webhook_version": pair.version, "data": data})
    found = fixture_of(pair, body.encode())
    assert found is not None
    return found


def by_pair() -> dict[Pair, list[Fixture]]:
    """Return the fixtures of every payload there is."""
    fixtures = [fixture_of(Pair(each.type, each.version), each.body) for each in every_payload()]
    ordered = sorted((each for each in fixtures if each), key=lambda each: (each.pair, each.name))
    return {pair: list(group) for pair, group in groupby(ordered, lambda each: each.pair)}


def told(before: dict[str, Any] | list[dict[str, Any]], now: dict[str, Any] | list[dict[str, Any]]) -> list[str]:
    """Return the differences between payloads, in words."""
    sides = [each if isinstance(each, list) else [each] for each in (before, now)]
    old, new = (merged(shape_of(payload) for payload in side) for side in sides)
    assert old is not None
    assert new is not None
    return [str(difference) for difference in differences(old, new)]


def test_same_structure_makes_the_same_file_whatever_its_content() -> None:
    one = {
        "id": "8a6477e9-6123-4b54-b193-91d32c20f2ac",
        "text": "Hi",
        "handles": ["ann@home.org", "+13035550188"],
        "sender": "+13035550188",
        "sent_at": "2026-11-28T21:17:49Z",
        "amount": 4200,
    }
    other = {
        "id": "e2e408db-2152-4e69-a717-d1dabd62d3d3",
        "text": "Is it?",
        "handles": ["+16465550123", "bo@home.org"],
        "sender": "+16465550123",
        "sent_at": "2025-01-02T03:04:05.678Z",
        "amount": 7,
    }
    assert fixture(one) == fixture(other)
    assert fixture(one).name == fixture(other).name
    assert fixture({**one, "id": 5}).name != fixture(one).name


def test_recorded_payloads_differ_in_nothing_and_recording_again_adds_nothing() -> None:
    everything = by_pair()
    assert len(everything) > 100
    for pair, seen in everything.items():
        recorded = choose(seen, [], 1)
        random.Random(1).shuffle(seen)
        assert choose(seen, [], 1) == recorded
        assert not choose(seen, recorded, len(recorded))
        assert compare({pair: recorded}, {pair: seen}) == {pair: []}
        assert all(pair_of(each.payload, each.name) == pair for each in recorded)


@quick
@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values, max_size=3), min_size=1, max_size=5))
def test_recording_of_any_payloads_leaves_no_difference(payloads: list[dict[str, Any]]) -> None:
    seen = [fixture(data) for data in payloads]
    assert compare({RECEIVED: choose(seen, [], 1)}, {RECEIVED: seen}) == {RECEIVED: []}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"chat": {"id": "c"}}, {"chat_id": "c"}, ["chat: removed, was object", "chat_id: added, text"]),
        ({"a": 1}, [{"a": 1}, {}], ["a: missing in some, was number"]),
        ([{"a": 1}, {}], {}, []),
        ({"a": "8a6477e9-6123-4b54-b193-91d32c20f2ac"}, {"a": "c-17"}, ["a: was uuid, is text"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a: was object, is list"]),
        ({"a": 1}, {"a": None}, ["a: was number, is null"]),
        ([{"a": 1}, {"a": None}], {"a": None}, []),
        ({"parts": [{"type": "text"}]}, {"parts": []}, []),
        (
            {"parts": [{"value": "x"}]},
            {"parts": [{"body": "x"}]},
            ["parts[].body: added, text", "parts[].value: removed, was text"],
        ),
        ({"value": "Hi"}, {"value": "+13035550188"}, []),
        ({"handle": "ann@home.org"}, {"handle": "+13035550188"}, []),
        ({"a": None}, {"a": {"b": 1}}, ["a.b: added, number"]),
    ],
)
def test_differences_between_payloads(before: Any, now: Any, expected: list[str]) -> None:
    assert told(before, now) == expected


def test_name_of_a_file_is_never_too_long(tmp_path: Path) -> None:
    fixture = fixture_of(Pair("../" + "x." * 126, "9" * 5000), b'{"event_type": "x"}')
    assert fixture is not None
    (tmp_path / fixture.name).write_text(fixture.text)
    assert [each.name for each in tmp_path.iterdir()] == [fixture.name]
