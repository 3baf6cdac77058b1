"""Content of v3 payloads: receipts, failures, reactions, votes, calls, groups and account changes."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.sandbox.payloads import NEW, OLD, Scenario, data_of, known_types
from relay.sandbox.payloads.messages import FAILURES
from tests.sandbox.running import LINE

CUSTOMER = "+13035550188"
SCENARIO = Scenario(
    line=LINE,
    customer=CUSTOMER,
    chat_id="chat-1",
    message_id="message-1",
    occurred_at=datetime(2026, 9, 14, 9, 15, 2, 417_203, tzinfo=UTC),
)
VOTES = ("poll.vote.added", "poll.vote.removed")


@pytest.mark.parametrize("version", [NEW, OLD])
@pytest.mark.parametrize(
    ("event_type", "is_delivered", "is_read"),
    [
        ("message.received", False, False),
        ("message.sent", False, False),
        ("message.delivered", True, False),
        ("message.read", True, True),
        ("poll.sent", False, False),
        ("poll.delivered", True, False),
        ("poll.read", True, True),
    ],
)
def test_receipts_have_the_times_of_their_events(
    version: str, event_type: str, *, is_delivered: bool, is_read: bool
) -> None:
    data = data_of(event_type, SCENARIO, version)
    message: dict[str, Any] = data.get("message", data)
    assert (message["sent_at"] is not None, message["delivered_at"] is not None, message["read_at"] is not None) == (
        True,
        is_delivered,
        is_read,
    )


@pytest.mark.parametrize("code", FAILURES)
def test_failure_has_code_and_reason(code: int) -> None:
    scenario = replace(SCENARIO, code=code)
    failed, poll_failed = (data_of(event_type, scenario, NEW) for event_type in ("message.failed", "poll.failed"))
    assert (failed["code"], failed["reason"]) == (code, FAILURES[code])
    assert poll_failed["error"] == {"code": code, "message": FAILURES[code]}


def test_removed_reaction_has_the_id_of_the_added_one() -> None:
    added, removed = (data_of(event_type, SCENARIO, NEW) for event_type in ("reaction.added", "reaction.removed"))
    assert added["reaction_id"] == removed["reaction_id"]
    for other in (replace(SCENARIO, ours=True), SCENARIO.next_message("Yes, booked.", "another")):
        assert data_of("reaction.added", other, NEW)["reaction_id"] != added["reaction_id"]


def test_votes_and_updates_concern_the_last_option() -> None:
    scenario = replace(SCENARIO, options=("3pm", "4pm", "5pm"))
    *_, last = data_of("poll.received", scenario, NEW)["poll"]["options"]
    assert last["text"] == "5pm"
    assert data_of("poll.updated", scenario, NEW)["added_options"] == [last]
    assert {data_of(vote, scenario, NEW)["option_id"] for vote in VOTES} == {last["option_id"]}


@pytest.mark.parametrize(
    ("flagged", "statuses", "reputations"),
    [(True, ["ACTIVE", "FLAGGED"], ["HEALTHY", "CRITICAL"]), (False, ["FLAGGED", "ACTIVE"], ["CRITICAL", "HEALTHY"])],
)
def test_line_status_is_flagged_or_healthy(statuses: list[str], reputations: list[str], *, flagged: bool) -> None:
    data = data_of("phone_number.status_updated", replace(SCENARIO, flagged=flagged), NEW)
    assert [data["previous_status"], data["new_status"]] == statuses
    assert [data["previous_reputation"], data["new_reputation"]] == reputations


@pytest.mark.parametrize(("ours", "ends"), [(True, (LINE, CUSTOMER)), (False, (CUSTOMER, LINE))])
def test_call_goes_from_actor_to_other_side(ends: tuple[str, str], *, ours: bool) -> None:
    data = data_of("call.initiated", replace(SCENARIO, ours=ours), NEW)
    assert (data["from"], data["to"]) == ends


def test_created_group_has_all_members() -> None:
    scenario = replace(SCENARIO, is_group=True, others=("+15035550177", "ana.ruiz@example.net"))
    handles = data_of("chat.created", scenario, NEW)["handles"]
    assert {handle["handle"]: handle["is_me"] for handle in handles} == {
        LINE: True,
        CUSTOMER: False,
        "+15035550177": False,
        "ana.ruiz@example.net": False,
    }


def test_removed_participant_has_left() -> None:
    removed = data_of("participant.removed", SCENARIO, NEW)
    assert (removed["participant"]["status"], removed["participant"]["left_at"]) == ("removed", SCENARIO.at)


def test_account_changes_have_old_and_new_value() -> None:
    changed = {event_type for event_type in known_types() if "change" in data_of(event_type, SCENARIO, NEW)}
    updates = re.compile(r".*(updated|renamed|changed|expiry_scheduled|line_moved|routing_headers_.*)")
    account_events = {event_type for event_type in known_types() if "actor" in data_of(event_type, SCENARIO, NEW)}
    assert changed == set(filter(updates.fullmatch, account_events))


def test_next_message_is_in_the_same_chat() -> None:
    reply = SCENARIO.next_message("Yes, booked.", "another")
    assert reply == replace(SCENARIO, text="Yes, booked.", message_id="another")
