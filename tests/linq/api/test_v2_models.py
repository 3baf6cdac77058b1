from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import LinqApiError
from relay.linq.api.v2_models import OneSubscription, Subscriptions, V2Subscription, read, refusal, seconds_of
from tests.properties import any_text, json_values, quick

NOW = datetime(2026, 9, 14, 9, 15, 2, tzinfo=UTC)
ROW = {
    "id": 123,
    "webhook_url": "https://relay.example.com/webhooks/linq/v2",
    "version": 2,
    "events": ["message.sent", "hologram.projected"],
    "active": True,
    "secret_configured": True,
    "last_delivered_at": "2024-01-15T10:30:00Z",
    "delivery_attempts": 42,
    "something_new": {"a": 1},
}


def body_of(value: object) -> bytes:
    return json.dumps(value).encode()


# --- valid responses ------------------------------------------------------------------------------


def test_subscription_with_unknown_event_types_is_parsed() -> None:
    assert read(OneSubscription, body_of({"webhook_subscription": ROW}), "x").webhook_subscription == V2Subscription(
        id=123,
        webhook_url="https://relay.example.com/webhooks/linq/v2",
        version=2,
        events=frozenset({"message.sent", "hologram.projected"}),
        active=True,
        secret_configured=True,
        last_delivered_at=datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
        delivery_attempts=42,
    )


@pytest.mark.parametrize("row", [{"id": 7}, {"id": 7, **{name: None for name in ROW if name != "id"}}])
def test_null_or_missing_fields_are_empty(row: dict[str, Any]) -> None:
    (subscription,) = read(Subscriptions, body_of({"webhook_subscriptions": [row]}), "x").webhook_subscriptions
    assert subscription == V2Subscription(id=7)
    assert (subscription.webhook_url, subscription.events, subscription.active, subscription.secret_configured) == (
        "",
        frozenset(),
        None,
        None,
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"<h1>Welcome</h1>", b"[]", b"{}", b'{"webhook_subscriptions": null}', b'{"webhook_subscriptions": [{}]}'],
)
def test_other_responses_are_not_an_empty_list(body: bytes) -> None:
    with pytest.raises(LinqApiError, match="listing: the response is not Linq's; check LINQ_V2_BASE_URL"):
        read(Subscriptions, body, "listing")


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            {"status": "422", "error_code": "invalid", "message": "Validation failed", "errors": ["url is no URL"]},
            "creating: Validation failed: url is no URL (status 422, code invalid)",
        ),
        (
            {"status": "422", "error_code": "invalid", "message": "url is no URL", "errors": ["url is no URL"]},
            "creating: url is no URL (status 422, code invalid)",
        ),
        ({"message": "no", "errors": None}, "creating: no (status 422)"),
        (
            {"errors": [{"status": 422, "code": "invalid", "title": "Invalid", "detail": "it is no number"}]},
            "creating: it is no number (status 422, code invalid)",
        ),
        (
            {"errors": [{"title": "Invalid"}, {"code": "c", "detail": "it is no number"}]},
            "creating: Invalid, it is no number (status 422, code c)",
        ),
    ],
)
def test_both_error_shapes_have_a_message(error: Any, message: str) -> None:
    assert str(refusal("creating", 422, body_of(error))) == message


def test_refused_token_is_named() -> None:
    message = str(refusal("listing", 401, body_of({"errors": [{"detail": "no"}]})))
    assert message == "listing: Linq refuses the token in LINQ_V2_TOKEN (401)"


@pytest.mark.parametrize("body", [b"", b"<h1>Not Found</h1>", b"[]", b"{}", b'{"errors": [{}, null]}', b'"text"'])
def test_foreign_error_has_its_status_and_a_hint(body: bytes) -> None:
    message = str(refusal("listing", 404, body))
    assert "LINQ_V2_BASE_URL" in message
    assert "status 404" in message


@quick
@given(st.binary() | json_values.map(body_of), st.integers(300, 599))
def test_any_error_body_gives_a_single_sentence(body: bytes, status: int) -> None:
    assert str(status) in str(refusal("listing", status, body))
    with pytest.raises(LinqApiError):
        read(OneSubscription, body, "listing")


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("7", 7),
        ("0", 0),
        ("-5", 0),
        ("soon", 0),
        ("²", 0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0),
    ],
)
def test_retry_after_is_seconds_or_a_time(header: str, seconds: float) -> None:
    assert seconds_of(header, NOW) == seconds


@quick
@given(any_text)
def test_any_retry_after_is_a_number_of_seconds(header: str) -> None:
    assert seconds_of(header, NOW) >= 0
