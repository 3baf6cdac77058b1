"""Simulated conversations: order of events, and repeatability."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import Dialect
from relay.core.lines import is_line
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.payloads.decode import decode
from relay.sandbox.events.conversations import ConversationStep, conversation, conversations
from relay.sandbox.payloads import NEW, OLD, data_of, envelope
from relay.sandbox.payloads.messages import FAILURES
from relay.sandbox.payloads.v2 import v2_body, v2_type_of
from tests.properties import quick
from tests.sandbox.running import LINE, LINES

if TYPE_CHECKING:
    from relay.core.event import Event
    from relay.sandbox.payloads import Scenario

MANY = 1000
MOMENT = datetime(2026, 9, 14, 9, 15, 2, tzinfo=UTC)

TYPING = {"chat.typing_indicator.started", "chat.typing_indicator.stopped"}
RECEIPTS = {"message.delivered", "message.read"}
ENDS_OF_CALLS = {"call.ended", "call.no_answer", "call.declined", "call.failed"}
HAPPENINGS = {
    *("message.received", "message.sent", "message.delivered", "message.read", "message.edited", "message.failed"),
    *("reaction.added", "reaction.removed"),
    *("chat.created", "chat.group_name_updated", "participant.added", "participant.removed", *TYPING),
    *("poll.received", "poll.sent", "poll.delivered", "poll.read"),
    *("poll.updated", "poll.vote.added", "poll.vote.removed"),
    *("call.initiated", "call.ringing", "call.answered", *ENDS_OF_CALLS),
    *("phone_number.status_updated", "contact_card.received"),
    *("location.sharing.started", "location.sharing.stopped"),
}


@cache
def some_conversations() -> list[list[ConversationStep]]:
    """Return enough conversations to cover every flow."""
    rng = random.Random(7)
    return [list(conversation(LINE, rng)) for _ in range(MANY)]


def conversations_with(event_type: str) -> list[list[ConversationStep]]:
    found = [steps for steps in some_conversations() if event_type in types_of(steps)]
    assert found
    return found


def types_of(steps: list[ConversationStep]) -> list[str]:
    return [step.event_type for step in steps]


def scenarios_of(steps: list[ConversationStep], *event_types: str) -> list[Scenario]:
    return [step.scenario for step in steps if step.event_type in event_types]


def event_of(step: ConversationStep, version: str) -> Event:
    body = envelope(step.event_type, "e-1", data_of(step.event_type, step.scenario, version), version, MOMENT)
    return decode(Dialect.V3, body, None).event


def test_same_seed_repeats_events_except_times() -> None:
    def timeless(step: ConversationStep) -> tuple[str, Scenario]:
        return step.event_type, replace(step.scenario, occurred_at=MOMENT)

    first, second = (list(map(timeless, islice(conversations(LINES, 42), MANY))) for _ in range(2))
    assert first == second


def test_other_seed_gives_other_events() -> None:
    first, second = (types_of(list(islice(conversations(LINES, seed), MANY))) for seed in (1, 2))
    assert first != second


def test_every_line_has_conversations() -> None:
    assert {step.scenario.line for step in islice(conversations(LINES, 1), MANY)} == set(LINES)


def test_conversation_is_one_chat_on_one_line() -> None:
    for steps in some_conversations():
        assert len({(step.scenario.chat_id, step.scenario.line, step.scenario.service) for step in steps}) == 1
        assert "chat.created" not in types_of(steps)[1:]
        assert is_line(steps[0].scenario.customer)
        assert not {step.scenario.customer for step in steps} & set(LINES)


def test_flows_cover_expected_types_known_to_linq() -> None:
    assert {event_type for steps in some_conversations() for event_type in types_of(steps)} == HAPPENINGS
    assert set(KNOWN_EVENT_TYPES) >= HAPPENINGS


def test_most_events_are_plain_messages() -> None:
    counts = Counter(event_type for steps in some_conversations() for event_type in types_of(steps))
    (first, _), (second, _) = counts.most_common(2)
    assert {first, second} == {"message.received", "message.sent"}
    plain = sum(
        counts[event_type] for event_type in ("message.received", "message.sent", "message.delivered", "message.read")
    )
    assert plain > counts.total() / 2
    rare = sum(counts[event_type] for event_type in ("location.sharing.started", "location.sharing.stopped"))
    assert rare < counts.total() / 100


def test_question_precedes_its_reply() -> None:
    for steps in conversations_with("message.sent"):
        asked, answered = scenarios_of(steps, "message.received"), scenarios_of(steps, "message.sent")
        assert len(asked) == len(answered)
        turns = [event_type for event_type in types_of(steps) if event_type in {"message.received", "message.sent"}]
        assert turns == ["message.received", "message.sent"] * len(asked)
        assert len({scenario.message_id for scenario in asked + answered}) == 2 * len(asked)


def test_typing_indicators_surround_a_question() -> None:
    for steps in conversations_with("chat.typing_indicator.started"):
        types = types_of(steps)
        for place, event_type in enumerate(types):
            if event_type == "message.received":
                assert types[place - 1] == "chat.typing_indicator.started"
                assert types[place + 1] == "chat.typing_indicator.stopped"


def test_sms_and_groups_have_no_typing_or_receipts() -> None:
    quiet = [
        steps for steps in some_conversations() if steps[0].scenario.service == "SMS" or steps[0].scenario.is_group
    ]
    assert quiet
    for steps in quiet:
        assert not (TYPING | RECEIPTS) & set(types_of(steps))


def test_sms_has_no_edits_reactions_or_polls() -> None:
    for steps in some_conversations():
        if steps[0].scenario.service == "SMS":
            assert not [
                event_type
                for event_type in types_of(steps)
                if event_type.startswith(("message.edited", "reaction.", "poll."))
            ]


def test_sent_message_is_delivered_then_read() -> None:
    for steps in conversations_with("message.read"):
        sent = [scenario.message_id for scenario in scenarios_of(steps, "message.sent")]
        for message in sent:
            types = [step.event_type for step in steps if step.scenario.message_id == message]
            assert types[:3] == ["message.sent", "message.delivered", "message.read"]


def test_edit_changes_the_text_of_a_question() -> None:
    for steps in conversations_with("message.edited"):
        asked = {scenario.message_id: scenario.text for scenario in scenarios_of(steps, "message.received")}
        for edited in scenarios_of(steps, "message.edited"):
            assert edited.text != asked[edited.message_id]


def test_removed_reaction_was_added_before() -> None:
    for steps in conversations_with("reaction.removed"):
        for place, step in enumerate(steps):
            if step.event_type == "reaction.removed":
                assert steps[place - 1] == ConversationStep("reaction.added", step.scenario)


def test_failed_message_is_never_sent_but_can_arrive() -> None:
    ends = set()
    for steps in conversations_with("message.failed"):
        types = types_of(steps)
        assert "message.sent" not in types
        (failed,) = scenarios_of(steps, "message.failed")
        after = steps[types.index("message.failed") + 1 :]
        assert after in ([], [ConversationStep("message.delivered", failed)])
        ends.add(len(after))
    assert ends == {0, 1}


def test_messages_fail_with_every_documented_code() -> None:
    failed = [scenarios_of(steps, "message.failed")[0].code for steps in conversations_with("message.failed")]
    assert set(failed) == set(FAILURES)


def test_group_is_created_named_and_joined() -> None:
    removed = 0
    for steps in conversations_with("chat.group_name_updated"):
        types = types_of(steps)
        assert all(step.scenario.is_group for step in steps)
        assert types[:2] == ["chat.created", "chat.group_name_updated"]
        (added,) = scenarios_of(steps, "participant.added")
        founders = {steps[0].scenario.customer, *steps[0].scenario.others}
        assert len(founders) == 2
        assert added.customer not in founders
        assert set(added.others) == founders
        if "participant.removed" in types:
            removed += 1
            assert steps[-1] == ConversationStep("participant.removed", added)
    assert 0 < removed < len(conversations_with("participant.added"))


def test_poll_gets_votes_and_a_new_option() -> None:
    for steps in conversations_with("poll.updated"):
        types = [event_type for event_type in types_of(steps) if event_type.startswith("poll.")]
        made = ["poll.received"] if "poll.received" in types else ["poll.sent", "poll.delivered", "poll.read"]
        assert types == [*made, "poll.vote.added", "poll.updated", "poll.vote.removed", "poll.vote.added"]
        (poll,), (updated,) = scenarios_of(steps, made[0]), scenarios_of(steps, "poll.updated")
        assert updated.options[: len(poll.options)] == poll.options
        first, last = scenarios_of(steps, "poll.vote.added")
        assert scenarios_of(steps, "poll.vote.removed") == [first]
        assert (first.options, last.options) == (poll.options, updated.options)
        assert poll.service == "iMessage"


def test_call_is_initiated_and_ends_once() -> None:
    calls = conversations_with("call.initiated")
    assert {" ".join(types_of(steps)) for steps in calls} == {
        "call.initiated call.ringing call.answered call.ended",
        "call.initiated call.ringing call.no_answer",
        "call.initiated call.ringing call.declined",
        "call.initiated call.failed",
    }
    assert all(len({step.scenario for step in steps}) == 1 for steps in calls)
    assert {steps[0].scenario.direction for steps in calls} == {"inbound", "outbound"}


def test_flagged_line_recovers() -> None:
    for steps in conversations_with("phone_number.status_updated"):
        first, *between, last = steps
        assert (first.event_type, last.event_type) == ("phone_number.status_updated", "phone_number.status_updated")
        assert (first.scenario.flagged, last.scenario.flagged) == (True, False)
        assert "message.received" in types_of(between)


@pytest.mark.parametrize("version", [NEW, OLD])
def test_location_sharing_stops_at_the_announced_time(version: str) -> None:
    for steps in conversations_with("location.sharing.started"):
        (started,), (stopped,) = (scenarios_of(steps, f"location.sharing.{what}") for what in ("started", "stopped"))
        began, ended = (
            data_of("location.sharing.started", started, version),
            data_of("location.sharing.stopped", stopped, version),
        )
        assert (began["began_at"], began["ends_at"]) == (ended["began_at"], ended["ended_at"])


@quick
@given(seed=st.integers(0, 2**32), version=st.sampled_from([NEW, OLD]))
def test_every_step_has_a_payload_the_relay_decodes(seed: int, version: str) -> None:
    for step in islice(conversations(LINES, seed), 30):
        event = event_of(step, version)
        assert event.type == step.event_type
        assert event.line in {None, step.scenario.line}
        assert event.fields.chat in {None, step.scenario.chat_id}


@quick
@given(seed=st.integers(0, 2**32))
def test_v2_and_v3_forms_of_a_step_agree(seed: int) -> None:
    for step in islice(conversations(LINES, seed), 30):
        v2_type = v2_type_of(step.event_type)
        if v2_type is None:
            continue
        v2 = decode(Dialect.V2, v2_body(v2_type, step.scenario, "e-1", MOMENT), None).event
        v3 = event_of(step, NEW)
        assert v2.line in {None, step.scenario.line}
        assert v2.fields.direction in {None, v3.fields.direction}
        assert (v2.fields.chat is None) == (v3.fields.chat is None)
