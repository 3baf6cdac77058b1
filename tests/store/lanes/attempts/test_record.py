from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.delivery.outcome import Outcome
from relay.store.lanes.attempts.record import AttemptLimits, AttemptRecord, UnreadableAttempt, encode_detail
from tests.building import LINE
from tests.properties import quick

GOOD = AttemptRecord(
    topic="support",
    entry="1789377302417-12",
    event_id="3fda5450-b4ab-4967-8555-881267881004",
    type="message.received",
    line=LINE,
    chat="0ed9cc50-bbf8-4318-9c67-c6b5f4326622",
    message="ba259c88-3be9-42cc-ba32-a2eb3705e4d7",
    trace="52340b72b01e4474aeb7726b9a83a2aa",
    number=1,
    is_probe=False,
    is_replay=False,
    at_ms=1_789_377_302_450,
    took_ms=31,
    outcome=Outcome.DELIVERED,
    status=204,
)
BAD = GOOD._replace(outcome=Outcome.FAILED, status=500, number=3, dead="failed: no attempt left of 3")


@pytest.mark.parametrize(
    "attempt",
    [
        GOOD,
        BAD,
        GOOD._replace(outcome=Outcome.TIMED_OUT, status=None, due_ms=1_789_377_307_450, is_probe=True),
        GOOD._replace(line=None, chat=None, message=None, trace=None, is_replay=True),
        GOOD._replace(chat=None, trace=None),
        GOOD._replace(message=None),
        GOOD._replace(event_id="e1", chat="chat-1", message=None, trace="é\n"),
        GOOD._replace(event_id=str(GOOD.event_id).upper()),
        GOOD._replace(shape="translated"),
        BAD._replace(shape="untranslated", is_probe=True),
        BAD._replace(chat=f"{GOOD.chat}\n{GOOD.chat}", message=None),
    ],
)
def test_encoded_attempt_is_decoded_unchanged(attempt: AttemptRecord) -> None:
    assert AttemptRecord.decode(attempt.encode()) == attempt


names = st.none() | st.uuids().map(str) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


@quick
@given(names.filter(bool), names, names, names, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_any_identifiers_survive_encoding(
    event_id: str, chat: str | None, message: str | None, trace: str | None, ms: int, took: int
) -> None:
    attempt = BAD._replace(
        event_id=event_id, chat=chat, message=message, trace=trace, entry=f"{ms}-0", at_ms=ms, took_ms=took
    )
    assert AttemptRecord.decode(attempt.encode()) == attempt


def test_success_takes_few_bytes() -> None:
    assert len(GOOD.encode()) < 135


def test_long_texts_and_large_numbers_are_truncated() -> None:
    long = GOOD._replace(type="é" * 200, chat="c" * 1000, entry=f"5-{2**33}", took_ms=-1, number=2**20)
    back = AttemptRecord.decode(long.encode())
    assert (back.type, back.chat, back.entry) == ("é" * 127, "c" * 256, "5-0")
    assert (back.took_ms, back.number) == (0, 2**16 - 1)
    assert len(encode_detail("é" * 4096)) == 4096
    assert encode_detail("\ud800") == b"?"


def test_half_of_the_memory_is_for_responses() -> None:
    assert AttemptLimits.from_size(9_000_000) == AttemptLimits(30_000, 1000)


@pytest.mark.parametrize("attempt", [GOOD, BAD])
def test_record_starts_with_its_version(attempt: AttemptRecord) -> None:
    assert attempt.encode()[0] == 1


@pytest.mark.parametrize("version", [0, 2, 255])
def test_unknown_version_is_unreadable(version: int) -> None:
    with pytest.raises(UnreadableAttempt, match=f"version {version}"):
        AttemptRecord.decode(bytes([version]) + GOOD.encode()[1:])


@pytest.mark.parametrize("data", [b"", b"\x01", GOOD.encode()[:60], GOOD.encode() + b"[", GOOD.encode() + b'{"a": 1}'])
def test_damaged_record_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableAttempt):
        AttemptRecord.decode(data)
