"""Conversations: what happens in one, and that it happens again."""

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
from relay.sandbox.events.conversations import Beat, conversation, conversations
from relay.sandbox.payloads import NEW, OLD, data_of, envelope
from relay.sandbox.payloads.messages import FAILURES
from relay.sandbox.payloads.v2 import v2_body, v2_type_of
from tests.properties import quick
from tests.sandbox.running import LINE, LINES

if TYPE_CHECKING:
    from relay.core.event import Event
    from relay.sandbox.payloads import Scene

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
def some_conversations() -> list[list[Beat]]:
    """Enough of them for every turn they can take."""
    dice = random.Random(7)
    return [list(conversation(LINE, dice)) for _ in range(MANY)]


def conversations_with(event_type: str) -> list[list[Beat]]:
    found = [beats for beats in some_conversations() if event_type in types_of(beats)]
    assert found
    return found


def types_of(beats: list[Beat]) -> list[str]:
    return [beat.event_type for beat in beats]


def scenes_of(beats: list[Beat], *event_types: str) -> list[Scene]:
    return [beat.scene for beat in beats if beat.event_type in event_types]


def event_of(beat: Beat, version: str) -> Event:
    body = envelope(beat.event_type, "e-1", data_of(beat.event_type, beat.scene, version), version, MOMENT)
    return decode(Dialect.V3, body, None).event


def test_the_same_seed_makes_the_same_events_but_for_the_time() -> None:
    def timeless(beat: Beat) -> tuple[str, Scene]:
        return beat.event_type, replace(beat.scene, moment=MOMENT)

    first, second = (list(map(timeless, islice(conversations(LINES, 42), MANY))) for _ in range(2))
    assert first == second


def test_another_seed_tells_another_story() -> None:
    first, second = (types_of(list(islice(conversations(LINES, seed), MANY))) for seed in (1, 2))
    assert first != second


def test_every_line_has_conversations() -> None:
    assert {beat.scene.line for beat in islice(conversations(LINES, 1), MANY)} == set(LINES)


def test_a_conversation_is_one_chat_on_one_line() -> None:
    for beats in some_conversations():
        assert len({(one.scene.chat_id, one.scene.line, one.scene.service) for one in beats}) == 1
        assert "chat.created" not in types_of(beats)[1:]
        assert is_line(beats[0].scene.customer)
        assert not {one.scene.customer for one in beats} & set(LINES)


def test_everything_that_can_happen_happens_and_linq_has_a_type_for_it() -> None:
    assert {event_type for beats in some_conversations() for event_type in types_of(beats)} == HAPPENINGS
    assert set(KNOWN_EVENT_TYPES) >= HAPPENINGS


def test_most_of_what_happens_are_plain_messages() -> None:
    counts = Counter(event_type for beats in some_conversations() for event_type in types_of(beats))
    (first, _), (second, _) = counts.most_common(2)
    assert {first, second} == {"message.received", "message.sent"}
    plain = sum(counts[one] for one in ("message.received", "message.sent", "message.delivered", "message.read"))
    assert plain > counts.total() / 2
    rare = sum(counts[one] for one in ("location.sharing.started", "location.sharing.stopped"))
    assert rare < counts.total() / 100


def test_a_question_comes_before_its_answer() -> None:
    for beats in conversations_with("message.sent"):
        asked, answered = scenes_of(beats, "message.received"), scenes_of(beats, "message.sent")
        assert len(asked) == len(answered)
        turns = [one for one in types_of(beats) if one in {"message.received", "message.sent"}]
        assert turns == ["message.received", "message.sent"] * len(asked)
        assert len({scene.message_id for scene in asked + answered}) == 2 * len(asked)


def test_typing_is_around_a_question() -> None:
    for beats in conversations_with("chat.typing_indicator.started"):
        types = types_of(beats)
        for place, event_type in enumerate(types):
            if event_type == "message.received":
                assert types[place - 1] == "chat.typing_indicator.started"
                assert types[place + 1] == "chat.typing_indicator.stopped"


def test_sms_and_groups_have_neither_typing_nor_receipts_of_messages() -> None:
    quiet = [beats for beats in some_conversations() if beats[0].scene.service == "SMS" or beats[0].scene.is_group]
    assert quiet
    for beats in quiet:
        assert not (TYPING | RECEIPTS) & set(types_of(beats))


def test_sms_has_no_edits_reactions_or_polls() -> None:
    for beats in some_conversations():
        if beats[0].scene.service == "SMS":
            assert not [one for one in types_of(beats) if one.startswith(("message.edited", "reaction.", "poll."))]


def test_a_message_that_was_sent_is_delivered_and_then_read() -> None:
    for beats in conversations_with("message.read"):
        sent = [scene.message_id for scene in scenes_of(beats, "message.sent")]
        for message in sent:
            story = [one.event_type for one in beats if one.scene.message_id == message]
            assert story[:3] == ["message.sent", "message.delivered", "message.read"]


def test_an_edit_changes_the_text_of_a_question_that_was_asked() -> None:
    for beats in conversations_with("message.edited"):
        asked = {scene.message_id: scene.text for scene in scenes_of(beats, "message.received")}
        for edited in scenes_of(beats, "message.edited"):
            assert edited.text != asked[edited.message_id]


def test_only_a_reaction_that_was_added_is_removed() -> None:
    for beats in conversations_with("reaction.removed"):
        for place, beat in enumerate(beats):
            if beat.event_type == "reaction.removed":
                assert beats[place - 1] == Beat("reaction.added", beat.scene)


def test_a_message_that_failed_was_never_sent_and_is_the_end_or_arrives_all_the_same() -> None:
    ends = set()
    for beats in conversations_with("message.failed"):
        types = types_of(beats)
        assert "message.sent" not in types
        (failed,) = scenes_of(beats, "message.failed")
        after = beats[types.index("message.failed") + 1 :]
        assert after in ([], [Beat("message.delivered", failed)])
        ends.add(len(after))
    assert ends == {0, 1}


def test_messages_fail_with_every_code_that_linq_documents() -> None:
    failed = [scenes_of(beats, "message.failed")[0].code for beats in conversations_with("message.failed")]
    assert set(failed) == set(FAILURES)


def test_a_group_is_created_named_and_gets_a_member_who_may_leave() -> None:
    removed = 0
    for beats in conversations_with("chat.group_name_updated"):
        types = types_of(beats)
        assert all(beat.scene.is_group for beat in beats)
        assert types[:2] == ["chat.created", "chat.group_name_updated"]
        (added,) = scenes_of(beats, "participant.added")
        founders = {beats[0].scene.customer, *beats[0].scene.others}
        assert len(founders) == 2
        assert added.customer not in founders
        assert set(added.others) == founders
        if "participant.removed" in types:
            removed += 1
            assert beats[-1] == Beat("participant.removed", added)
    assert 0 < removed < len(conversations_with("participant.added"))


def test_a_poll_is_voted_on_after_it_was_made_and_gets_an_option_more() -> None:
    for beats in conversations_with("poll.updated"):
        types = [event_type for event_type in types_of(beats) if event_type.startswith("poll.")]
        made = ["poll.received"] if "poll.received" in types else ["poll.sent", "poll.delivered", "poll.read"]
        assert types == [*made, "poll.vote.added", "poll.updated", "poll.vote.removed", "poll.vote.added"]
        (poll,), (updated,) = scenes_of(beats, made[0]), scenes_of(beats, "poll.updated")
        assert updated.options[: len(poll.options)] == poll.options
        first, last = scenes_of(beats, "poll.vote.added")
        assert scenes_of(beats, "poll.vote.removed") == [first]
        assert (first.options, last.options) == (poll.options, updated.options)
        assert poll.service == "iMessage"


def test_a_call_is_initiated_and_comes_to_one_end() -> None:
    calls = conversations_with("call.initiated")
    assert {" ".join(types_of(beats)) for beats in calls} == {
        "call.initiated call.ringing call.answered call.ended",
        "call.initiated call.ringing call.no_answer",
        "call.initiated call.ringing call.declined",
        "call.initiated call.failed",
    }
    assert all(len({beat.scene for beat in beats}) == 1 for beats in calls)
    assert {beats[0].scene.direction for beats in calls} == {"inbound", "outbound"}


def test_a_line_that_is_flagged_is_healthy_again_in_the_end() -> None:
    for beats in conversations_with("phone_number.status_updated"):
        first, *between, last = beats
        assert (first.event_type, last.event_type) == ("phone_number.status_updated", "phone_number.status_updated")
        assert (first.scene.flagged, last.scene.flagged) == (True, False)
        assert "message.received" in types_of(between)


@pytest.mark.parametrize("version", [NEW, OLD])
def test_a_location_stops_being_shared_as_it_was_said_when_it_started(version: str) -> None:
    for beats in conversations_with("location.sharing.started"):
        (started,), (stopped,) = (scenes_of(beats, f"location.sharing.{what}") for what in ("started", "stopped"))
        began, ended = (
            data_of("location.sharing.started", started, version),
            data_of("location.sharing.stopped", stopped, version),
        )
        assert (began["began_at"], began["ends_at"]) == (ended["began_at"], ended["ended_at"])


@quick
@given(seed=st.integers(0, 2**32), version=st.sampled_from([NEW, OLD]))
def test_every_beat_has_a_payload_that_the_relay_understands(seed: int, version: str) -> None:
    for beat in islice(conversations(LINES, seed), 30):
        event = event_of(beat, version)
        assert event.type == beat.event_type
        assert event.line in {None, beat.scene.line}
        assert event.fields.chat in {None, beat.scene.chat_id}


@quick
@given(seed=st.integers(0, 2**32))
def test_v2_tells_of_a_beat_what_v3_tells(seed: int) -> None:
    for beat in islice(conversations(LINES, seed), 30):
        v2_type = v2_type_of(beat.event_type)
        if v2_type is None:
            continue
        v2 = decode(Dialect.V2, v2_body(v2_type, beat.scene, "e-1", MOMENT), None).event
        v3 = event_of(beat, NEW)
        assert v2.line in {None, beat.scene.line}
        assert v2.fields.direction in {None, v3.fields.direction}
        assert (v2.fields.chat is None) == (v3.fields.chat is None)
