"""Translation between the versions: valid in the other one, back the same, like Linq's own, and never silent."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.linq.payloads.translation.rules import RULES, V2025, V2026
from relay.linq.payloads.translation.translate import UNTRANSLATED, translate
from relay.sandbox.payloads import exists_in
from tests.linq.sdk_payloads import EVENT_TYPES, NO_CLASS
from tests.linq.sdk_strategies import bodies
from tests.schemas.samples import samples
from tests.schemas.tools import SCHEMAS

MESSAGES = ("message.sent", "message.received", "message.delivered", "message.read")
IN_BOTH = [event_type for event_type in EVENT_TYPES if exists_in(event_type, V2025)]
SAMPLES = {(each.version, each.type, json.dumps(each.body)): each for each in samples()}.values()

Body = dict[str, Any]


@cache
def validator(version: str, event_type: str) -> Any:
    return jsonschema_rs.validator_for(json.loads((SCHEMAS / "events" / version / f"{event_type}.json").read_bytes()))


def problems(version: str, body: Body) -> list[str]:
    return [str(error) for error in validator(version, body["event_type"]).iter_errors(body)]


def translated(body: Body, shape: str) -> Body:
    """Return a body in the other version; it must not be left as it is."""
    sent = json.dumps(body).encode()
    made = translate(sent, body["event_type"], body["webhook_version"], shape)
    assert (made.version, made.mark) == (shape, shape)
    result: Body = json.loads(made.body)
    return result


def without_nulls(value: Any) -> Any:
    """Return a value in which a null is as good as nothing, as in the SDK's models."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def known_to_both(body: Body) -> Body:
    """Return what both versions have of a body of 2026-02-03, of a chat whose owner is the line."""
    data = dict(body["data"])
    data.pop("health_status", None)
    if body["event_type"] in MESSAGES:
        chat = {name: value for name, value in data["chat"].items() if name != "health_status"}
        data["chat"] = chat | ({"owner_handle": data["sender_handle"]} if data["direction"] == "outbound" else {})
    result: Body = without_nulls({**body, "data": data})
    return result


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([*IN_BOTH, *MESSAGES * 5]).flatmap(lambda event_type: bodies(event_type, V2026)))
def test_any_payload_is_valid_in_the_other_version_and_back(body: Body) -> None:
    old = translated(body, V2025)
    assert problems(V2025, old) == []
    again = translated(old, V2026)
    assert problems(V2026, again) == []
    assert known_to_both(again) == known_to_both(body)
    assert translated(again, V2025) == old


@pytest.mark.parametrize(("version", "other"), [(V2026, V2025), (V2025, V2026)])
def test_samples_become_what_linq_sends_in_the_other_version(version: str, other: str) -> None:
    sent = [each for each in SAMPLES if each.version == version and each.type not in NO_CLASS | {"message.edited"}]
    made = [translated(sample.body, other) for sample in sent]
    wrong = [(sample.type, found) for sample, body in zip(sent, made, strict=True) if (found := problems(other, body))]
    assert wrong == []
    before = [decode(Dialect.V3, json.dumps(sample.body).encode(), None).event for sample in sent]
    after = [decode(Dialect.V3, json.dumps(body).encode(), None).event for body in made]
    assert [(event.type, event.id, event.line, event.version) for event in after] == [
        (event.type, event.id, event.line, other) for event in before
    ]
    assert len(sent) > len(IN_BOTH)
    fields = [[event.fields for event in events if event.type in MESSAGES] for events in (before, after)]
    assert fields[0] == fields[1]


@pytest.mark.parametrize("event_type", MESSAGES)
def test_messages_are_those_of_the_sandbox_field_by_field(event_type: str) -> None:
    pairs = [[each.body for each in samples() if (each.version, each.type) == (v, event_type)] for v in (V2026, V2025)]
    for new, old in [*zip(*pairs, strict=False)][:2]:
        made = translated(new, V2025)
        for name in ("created_at", "updated_at"):  # 2026-02-03 does not tell them, and 2025-01-01 does not require them
            del old["data"]["message"][name]
        assert made == old
        back = translated(old, V2026)
        back["data"]["chat"]["health_status"] = new["data"]["chat"]["health_status"]
        assert known_to_both(back) == known_to_both(new)


def test_every_type_of_the_sdk_has_a_rule_with_a_source() -> None:
    assert set(RULES) == set(EVENT_TYPES)
    assert all(rule.source for rule in RULES.values())
    assert {name for name, rule in RULES.items() if V2025 not in rule.to} == set(EVENT_TYPES) - set(IN_BOTH)


def test_body_of_the_wanted_version_keeps_its_bytes() -> None:
    body = b'{ "webhook_version":"2025-01-01" ,"n": 0.10 }'
    assert translate(body, "message.received", V2025, V2025) == (body, V2025, None)


@pytest.mark.parametrize(
    ("version", "event_type", "data"),
    [
        ("v2", "message.received", {}),
        ("2027-01-01", "message.received", {}),
        (V2026, "call.ended", {}),
        (V2026, "message.unsent", {}),
        (V2026, "message.edited", {}),
        (V2026, "message.received", {"id": "m"}),
        (V2026, "message.received", None),
        (V2026, "message.received", {"chat": {"id": "c"}, "sender_handle": [], "direction": "up", "id": "m"}),
        (V2026, "reaction.added", {"new": float("inf")}),
    ],
)
def test_untranslatable_body_is_unchanged_and_marked(version: str, event_type: str, data: Any) -> None:
    body = json.dumps({"event_id": "1", "data": data}).encode()
    assert translate(body, event_type, version, V2025) == (body, version, UNTRANSLATED)


def test_sender_without_a_handle_object_is_not_made_up() -> None:
    old = next(each.body for each in SAMPLES if (each.version, each.type) == (V2025, "message.received"))
    body = json.dumps({**old, "data": {**old["data"], "from_handle": None}}).encode()
    assert translate(body, "message.received", V2025, V2026) == (body, V2025, UNTRANSLATED)


def test_recovered_messages_and_odd_text_pass() -> None:
    new = next(each.body for each in SAMPLES if (each.version, each.type) == (V2026, "message.received"))
    at = "2026-09-14T11:00:00Z"
    changed = {**new["data"], "reconciled_at": at, "parts": [{"type": "text", "value": "\ud83d lone"}]}
    old = translated({**new, "data": changed}, V2025)
    assert old["data"]["message"]["reconciled_at"] == at
    assert translated(old, V2026)["data"]["parts"] == changed["parts"]
    assert decode(Dialect.V3, json.dumps(old).encode(), None).event.fields.reconciled_at == at
