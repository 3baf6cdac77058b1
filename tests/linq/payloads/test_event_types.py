from __future__ import annotations

from typing import get_args

import pytest
from linq.types.webhook_event_type import WebhookEventType

from relay.core.event import Dialect
from relay.linq.payloads.event_types import V2_TYPES, unknown_patterns


def test_v2_has_fourteen_types() -> None:
    assert len(set(V2_TYPES)) == len(V2_TYPES) == 14


@pytest.mark.parametrize(
    "patterns", [get_args(WebhookEventType), V2_TYPES, ["*"], ["message.*", "chat.typing_indicator.*", "call.*"], []]
)
def test_known_types_and_their_families_need_no_hint(patterns: list[str]) -> None:
    assert list(unknown_patterns(patterns, list(Dialect))) == []


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("message.recieved", "message.received"),
        ("mesage.sent", "message.sent"),
        ("chat.typing_indicator.start", "chat.typing_indicator.started"),
        ("typing_indicator.recieved", "typing_indicator.received"),
    ],
)
def test_misspelt_type_gets_a_hint(pattern: str, meant: str) -> None:
    assert list(unknown_patterns(["*", pattern], list(Dialect))) == [(pattern, f'; did you mean "{meant}"?')]


def test_unfamiliar_type_gets_no_hint() -> None:
    assert list(unknown_patterns(["hologram.*", "qqqq"], list(Dialect))) == [("hologram.*", ""), ("qqqq", "")]


def test_types_of_the_other_api_are_unknown() -> None:
    patterns = ["contact.created", "poll.*", "message.sent"]
    assert list(unknown_patterns(patterns, [Dialect.V3])) == [
        ("contact.created", '; did you mean "contact_card.created"?')
    ]
    assert [pattern for pattern, _ in unknown_patterns(patterns, [Dialect.V2])] == ["poll.*"]
