"""Redaction: nothing of a person or a company stays in a payload, and what the relay reads from it does."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from relay.contracts.facts import FACTS, Pair
from relay.contracts.fixtures import fixture_of
from relay.contracts.redaction import Tokens, kind_of, redact, redacted_json
from relay.contracts.words import WORDS
from relay.linq.payloads.decode import decode
from tests.contracts.payloads import every_payload
from tests.linq.sdk_payloads import EVENT_TYPES, class_of
from tests.properties import json_values, quick

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADS = {"event_type", "webhook_version", "api_version"}
TOKEN = re.compile(r"<[a-z0-9]+( \d+)?>")
HEAD_VALUES = {"v2", "v3", "2025-01-01", "2026-02-03"}
OURS = re.compile(
    r"some-[A-Za-z0-9_]+|\+1303555[01]\d\d\d|person\d+@example\.com|https://example\.com/some/path"
    r"|2026-01-02.*|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|1\d\d\d|"
)
PEOPLE = st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True) | st.emails() | st.uuids().map(str) | st.text(min_size=1)


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string of a payload that is not one of Linq's words, with its key."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from strings(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, key)
    elif isinstance(value, str) and value not in WORDS.get(key, ()):
        yield key, value


def keys(value: Any) -> Iterator[str]:
    """Yield every key of a payload."""
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(each)


def test_redacted_payload_of_linq_has_kinds_in_place_of_strings() -> None:
    for payload in every_payload():
        found = json.loads(redacted_json(payload.body, 10**6) or "")
        kept = {text for key, text in strings(found) if key not in HEADS}
        assert all(TOKEN.fullmatch(text) for text in kept), (payload.type, kept)
        assert found["event_type"] == payload.type


def test_fixture_of_linqs_payload_has_our_values_and_is_read_like_it() -> None:
    for dialect, event_type, version, body in every_payload():
        fixture = fixture_of(Pair(event_type, version), body)
        assert fixture is not None
        made = {text for key, text in strings(fixture.payload) if key not in HEADS}
        assert all(OURS.fullmatch(text) for text in made), (event_type, made)
        real, read = (decode(dialect, each, None).event for each in (body, fixture.text.encode()))
        assert (read.type, read.version) == (real.type, real.version)
        for fact in FACTS:
            assert (getattr(read.fields, fact) is None) == (getattr(real.fields, fact) is None), (event_type, fact)
        assert read.fields.direction == real.fields.direction
        assert read.fields.service == real.fields.service or real.fields.service not in WORDS["service"]
        again = fixture_of(fixture.pair, fixture.text.encode())
        assert again == fixture


@quick
@given(st.data())
def test_nothing_that_people_write_stays_in_a_payload(data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from(every_payload()))
    written: list[str] = []

    def written_by_people(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: written_by_people(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [written_by_people(each, key) for each in value]
        if isinstance(value, str) and key not in {*HEADS, *WORDS}:
            written.append(data.draw(PEOPLE))
            return written[-1]
        return value

    body = json.dumps(written_by_people(payload.json)).encode()
    for text in (redacted_json(body, 10**6), fixture_of(Pair("t", "v"), body).text):  # type: ignore[union-attr]
        kept = {each for _, each in strings(json.loads(text or ""))}
        known = {payload.type, payload.version, *HEAD_VALUES}
        assert all(TOKEN.fullmatch(each) or OURS.fullmatch(each) or each in known for each in kept)


@quick
@given(json_values)
def test_redaction_of_any_json_ends_and_keeps_no_string(value: Any) -> None:
    found = redact(value, Tokens())
    json.dumps(found)
    assert all(TOKEN.fullmatch(text) for key, text in strings(found) if key not in HEADS)
    assert redact(json.loads(json.dumps({"data": value})), Tokens()).keys() == {"data"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8a6477e9-6123-4b54-b193-91d32c20f2ac", "uuid"),
        ("+13035550188", "e164"),
        ("2026-11-28T21:17:49.997Z", "time"),
        ("2026-11-28 15:17:49 -0600", "time"),
        ("774832608", "digits"),
        ("ann@example.com", "email"),
        ("https://example.com/a?b=c", "url"),
        ("", "empty"),
        ("Is the 3pm slot free?", "text"),
        ("see https://example.com", "text"),
    ],
)
def test_kind_of_a_string(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_keys_that_people_choose_are_removed() -> None:
    body = json.dumps({"data": {"metadata": {"order_of_ann": "1"}, "by_handle": {"+13035550188": 1, "u123456": 2}}})
    assert set(keys(json.loads(redacted_json(body.encode(), 10**6) or ""))) == {
        *("data", "metadata", "by_handle", "any key")
    }


def test_word_of_linqs_is_no_word_where_people_write() -> None:
    found = redact({"data": {"reaction_type": "love", "parts": [{"type": "text", "value": "love"}]}}, Tokens())
    assert found == {"data": {"parts": [{"type": "text", "value": "<text 4>"}], "reaction_type": "love"}}


def test_words_are_those_of_the_sdk() -> None:
    found: dict[str, set[str]] = {}
    seen: set[type] = set()

    def look(annotation: Any, name: str) -> None:
        if get_origin(annotation) is Literal:
            found.setdefault(name, set()).update(get_args(annotation))
        elif arguments := get_args(annotation):
            for argument in arguments:
                look(argument, name)
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
            seen.add(annotation)
            for field, info in annotation.model_fields.items():
                look(info.annotation, info.alias or field)

    for event_type in EVENT_TYPES:
        look(class_of(event_type), "")
    del found["event_type"]
    missing = {key: words - WORDS.get(key, frozenset()) for key, words in found.items()}
    assert not {key: words for key, words in missing.items() if words}
