"""Copies of a message over v2 and v3 are matched by what both have in common."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.bootstrap.migration.messages import Copy, compare, copy_of
from relay.sandbox.payloads import NEW, OLD, Scenario, data_of
from relay.sandbox.payloads.v2 import v2_body
from relay.store.topics.record import Record
from tests.bootstrap.building import LINE

NOW = datetime(2026, 11, 28, 21, 0, tzinfo=UTC)


def copy(*, v2: bool, event: str, digest: str = "d", sent: float = 0.0, message: str | None = None) -> Copy:
    return Copy(event, "message.received", LINE, message, digest, sent, v2)


def entry(version: str, body: Any, kind: str = "message.received") -> Record:
    return Record("1-0", "e-1", kind, LINE, None, 5000, version, body, "w-1")


def found(*copies: Copy) -> tuple[int, list[str], list[str]]:
    result = compare(copies)
    return result.both, [each.event for each in result.only_v2], [each.event for each in result.only_v3]


@pytest.mark.parametrize("kind", ["message.received", "message.sent"])
def test_every_version_of_a_message_is_the_same_copy(kind: str) -> None:
    scenario = Scenario(line=LINE, text="Is 3 pm free?", occurred_at=NOW, event_time=NOW)
    over_v2 = copy_of(entry("v2", v2_body(kind, scenario, "e-2", NOW), kind))
    assert over_v2 is not None
    for version in (NEW, OLD):
        body = json.dumps({"data": data_of(kind, scenario, version)}).encode()
        over_v3 = copy_of(entry(version, body, kind))
        assert over_v3 is not None
        assert over_v3.content == over_v2.content
        assert abs(over_v3.sent - over_v2.sent) < 10


def test_copies_are_matched_once_each_and_near_in_time() -> None:
    v2 = [copy(v2=True, event=f"two-{at}", sent=at) for at in (0, 5, 100)]
    v3 = [copy(v2=False, event=f"three-{at}", sent=at) for at in (1, 6, 7, 300)]
    assert found(*v2, *v3, v2[0], v3[0]) == (2, ["two-100"], ["three-7", "three-300"])


def test_equal_ids_match_whatever_the_content() -> None:
    over_v2, over_v3 = copy(v2=True, event="a", message="7"), copy(v2=False, event="b", message="7", digest="x")
    assert found(over_v2, over_v3) == (1, [], [])


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data": []}', b'{"data": {"sent_at": "soon", "parts": [1]}}'])
def test_odd_body_is_a_message_without_text(body: bytes) -> None:
    read = copy_of(entry("2026-02-03", body))
    assert read is None or read.sent == 5.0
    assert copy_of(entry("2026-02-03", body, "reaction.added")) is None


def test_single_copies_at_the_ends_are_left_out() -> None:
    copies = [copy(v2=True, event=str(at), digest=str(at), sent=at) for at in (1, 50, 99)]
    assert [each.event for each in compare(copies).between(10, 90).only_v2] == ["50"]
