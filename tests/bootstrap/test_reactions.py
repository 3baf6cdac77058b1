"""What follows from Linq's account events: which are settled by a look, and what the log says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.bootstrap.reactions import (
    ASSIGNED,
    GIVE_UP_MS,
    LIST_TIMEOUT_MS,
    RELEASED,
    account_event_of,
    last_words,
    notice_of,
    settled,
)
from relay.bootstrap.survey import Survey
from relay.linq.payloads.envelope import Envelope
from relay.store.account_events import AccountEvent
from tests.bootstrap.building import GONE_LINE, LINE, desired_state

DISABLED = "webhook_subscription.disabled"
SURVEY = Survey(replace(desired_state(), excluded=frozenset()), (), ())
NAMED = Survey(desired_state(), (), ())
"""The same with the lines that relay.toml names."""


def said(kind: str, line: str | None = None, at_ms: int = 0, about: str = "") -> AccountEvent:
    return AccountEvent(kind, line, at_ms, about)


@pytest.mark.parametrize(
    ("event", "survey", "failed", "is_settled"),
    [
        (said(DISABLED), SURVEY, (), True),
        (said(DISABLED), None, (), False),
        (said(DISABLED), SURVEY, (LINE,), False),
        (said(RELEASED, GONE_LINE), SURVEY, (), True),
        (said(RELEASED, GONE_LINE), SURVEY, (LINE,), True),
        (said(RELEASED, GONE_LINE), SURVEY, (GONE_LINE,), False),
        (said(RELEASED, LINE), SURVEY, (), False),
        (said(RELEASED, LINE), NAMED, (), True),
        (said(ASSIGNED, LINE), SURVEY, (), True),
        (said(ASSIGNED, GONE_LINE), SURVEY, (), False),
        (said(ASSIGNED, GONE_LINE), NAMED, (), True),
        (said("phone_number.status_updated", LINE), None, (), True),
        (said("api_token.expired"), None, (), True),
    ],
)
def test_event_waits_until_a_look_has_dealt_with_it(
    event: AccountEvent, survey: Survey | None, failed: tuple[str, ...], *, is_settled: bool
) -> None:
    assert bool(settled([event], survey, failed, 1000)) == is_settled
    assert settled([event], survey, failed, GIVE_UP_MS + 1) == [event]
    if survey and not failed:
        assert settled([event], survey, failed, LIST_TIMEOUT_MS + 1) == [event]


def test_last_word_on_a_line_counts() -> None:
    events = [said(RELEASED, LINE, 2), said(ASSIGNED, LINE, 3), said(RELEASED, GONE_LINE, 1), said(DISABLED)]
    assert last_words(events) == {LINE: False, GONE_LINE: True}


@pytest.mark.parametrize(
    ("kind", "data", "line", "about"),
    [
        (RELEASED, {"phone_number": LINE}, LINE, ""),
        (RELEASED, {"phone_number": ["x"]}, None, ""),
        (RELEASED, {"phone_number": "nobody@example.com"}, None, ""),
        (DISABLED, {"webhook_subscription": {"id": "s-1", "target_url": "https://x"}}, None, "s-1"),
        (DISABLED, {"webhook_subscription": {"id": "s" * 5000}}, None, "s" * 200),
        (DISABLED, {"webhook_subscription": "s-1"}, None, ""),
        ("phone_number.status_updated", {"phone_number": LINE, "new_status": "FLAGGED"}, LINE, "FLAGGED"),
        (
            "api_token.expiry_scheduled",
            {"api_token": {"token_prefix": "lk_ab", "expires_at": "2027-01-01T00:00:00Z"}},
            None,
            "lk_ab 2027-01-01T00:00:00Z",
        ),
    ],
)
def test_facts_of_an_event(kind: str, data: dict[str, Any], line: str | None, about: str) -> None:
    envelope = Envelope(event_id="e", event_type=kind, data=data)
    assert account_event_of(envelope, 5) == AccountEvent(kind, line, 5, about)


@pytest.mark.parametrize(
    ("event", "heals", "level", "note"),
    [
        (said(DISABLED, about="s-1"), True, "warning", ""),
        (said(DISABLED, about="s-1"), False, "error", "heal is off"),
        (said(RELEASED, LINE), False, "warning", "heal is off"),
        (said("api_token.expired", about="lk_own"), True, "error", "LINQ_API_V3_API_KEY"),
        (said("api_token.expiry_scheduled", about="lk_own... 2027"), True, "error", "LINQ_API_V3_API_KEY"),
        (said("api_token.expired", about="lk_other"), True, "info", ""),
        (said("api_token.expired"), True, "info", ""),
    ],
)
def test_log_says_what_an_operator_must_do(event: AccountEvent, *, heals: bool, level: str, note: str) -> None:
    notice = notice_of(event, "lk_own_secret", heals=heals)
    assert (notice.level, note in notice.fields.get("note", "")) == (level, True)
    assert "lk_own_secret" not in str(notice)
