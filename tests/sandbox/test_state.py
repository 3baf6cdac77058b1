"""The in-memory state of the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from relay.sandbox.state import Attempt, Delivery, SandboxState, Subscription, rfc3339
from tests.sandbox.running import LINE, LINES, OTHER_LINE


def subscription(*lines: str, is_active: bool = True) -> Subscription:
    return Subscription("https://relay.example.com/x", ["message.sent"], list(lines), is_active=is_active)


@pytest.mark.parametrize(
    ("subscribed", "event_type", "line", "expected"),
    [
        (subscription(), "message.sent", LINE, True),
        (subscription(), "message.sent", None, True),
        (subscription(), "message.read", LINE, False),
        (subscription(LINE), "message.sent", LINE, True),
        (subscription(LINE), "message.sent", OTHER_LINE, False),
        (subscription(LINE), "message.sent", None, False),
        (subscription(LINE, OTHER_LINE), "message.sent", OTHER_LINE, True),
        (subscription(is_active=False), "message.sent", LINE, False),
    ],
)
def test_subscription_matches_active_type_and_line(
    subscribed: Subscription, event_type: str, line: str | None, *, expected: bool
) -> None:
    assert subscribed.matches(event_type, line) is expected


def test_subscription_json_has_no_secret() -> None:
    subscribed = subscription(LINE)
    assert subscribed.secret.text not in str(subscribed.as_json())
    assert subscribed.secret.text not in repr(subscribed)


def test_subscriptions_have_unique_ids_and_secrets() -> None:
    first, second = subscription(), subscription()
    assert first.id != second.id
    assert first.secret.text != second.secret.text


def test_delivery_json_has_attempts() -> None:
    delivery = Delivery(
        "e-1",
        "message.sent",
        LINE,
        "s-1",
        "waiting",
        "v2",
        ("forge",),
        [Attempt("2026-09-14T09:15:02.000Z", 7, 500, "")],
    )
    assert delivery.as_json() == {
        "event_id": "e-1",
        "event_type": "message.sent",
        "line": LINE,
        "subscription_id": "s-1",
        "api": "v2",
        "state": "waiting",
        "faults": ("forge",),
        "attempts": [{"at": "2026-09-14T09:15:02.000Z", "ms": 7, "status": 500, "error": ""}],
    }


def test_phone_number_id_is_stable() -> None:
    first, second = SandboxState(LINES).phone_numbers(), SandboxState(LINES[::-1]).phone_numbers()
    assert {row["phone_number"]: row["id"] for row in first} == {row["phone_number"]: row["id"] for row in second}


def test_times_are_utc_with_milliseconds() -> None:
    occurred_at = datetime(2026, 9, 14, 3, 15, 2, 417_203, tzinfo=timezone(timedelta(hours=-6)))
    assert rfc3339(occurred_at) == "2026-09-14T09:15:02.417Z"
    assert rfc3339(datetime(2026, 9, 14, tzinfo=UTC)) == "2026-09-14T00:00:00.000Z"
