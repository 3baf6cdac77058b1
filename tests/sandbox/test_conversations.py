"""Conversations: what happens in one, and that it happens again."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import Dialect
from relay.core.lines import is_line
from relay.linq.api import KNOWN_EVENT_TYPES
from relay.linq.understanding import understand
from relay.sandbox.conversations import Beat, conversation, conversations
from relay.sandbox.payloads import NEW, OLD, data_of, envelope
from tests.properties import quick
from tests.sandbox.running import LINE, LINES

if TYPE_CHECKING:
    from relay.sandbox.payloads import Scene

MANY = 300
RECEIPTS = {"message.delivered", "message.read"}
MOMENT = datetime(2026, 9, 14, 9, 15, 2, tzinfo=UTC)


def some_conversations() -> list[list[Beat]]:
    """Enough of them for every turn they can take."""
    dice = random.Random(7)
    return [list(conversation(LINE, dice)) for _ in range(MANY)]


def types_of(beats: list[Beat]) -> list[str]:
    return [beat.event_type for beat in beats]


def plot(beat: Beat) -> tuple[object, ...]:
    scene = beat.scene
    return beat.event_type, scene.line, scene.customer, scene.chat_id, scene.text, scene.service, scene.is_group


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = (list(map(plot, islice(conversations(LINES, 42), MANY))) for _ in range(2))
    assert first == second


def test_another_seed_tells_another_story() -> None:
    first, second = (list(map(plot, islice(conversations(LINES, seed), MANY))) for seed in (1, 2))
    assert first != second


def test_the_same_seed_makes_the_same_events_but_for_the_time() -> None:
    def timeless(beat: Beat) -> tuple[str, Scene]:
        return beat.event_type, replace(beat.scene, moment=MOMENT)

    first, second = (list(map(timeless, islice(conversations(LINES, 42), MANY))) for _ in range(2))
    assert first == second


def test_every_line_has_conversations() -> None:
    assert {beat.scene.line for beat in islice(conversations(LINES, 1), MANY)} == set(LINES)


def test_a_conversation_is_one_chat_on_one_line_with_one_customer() -> None:
    for beats in some_conversations():
        assert len({(one.scene.chat_id, one.scene.line, one.scene.customer, one.scene.service) for one in beats}) == 1
        assert is_line(beats[0].scene.customer)
        assert beats[0].scene.customer != LINE


def test_a_conversation_goes_from_a_question_to_an_answer() -> None:
    for beats in some_conversations():
        types = types_of(beats)
        assert types[0] == "chat.created"
        answered = "message.failed" if "message.failed" in types else "message.sent"
        assert types.index("chat.typing_indicator.started") < types.index("message.received") < types.index(answered)
        question, answer = beats[types.index("message.received")].scene, beats[types.index(answered)].scene
        assert question.message_id != answer.message_id


def test_sms_has_no_receipts() -> None:
    for beats in some_conversations():
        if beats[0].scene.service == "SMS":
            assert not RECEIPTS & set(types_of(beats))


def test_a_message_that_was_sent_over_anything_else_is_delivered_and_then_read() -> None:
    for beats in some_conversations():
        types = types_of(beats)
        if "message.sent" in types and beats[0].scene.service != "SMS" and not beats[0].scene.is_group:
            assert types.index("message.sent") < types.index("message.delivered") < types.index("message.read")


def test_a_group_has_no_receipts() -> None:
    for beats in some_conversations():
        if beats[0].scene.is_group:
            assert not RECEIPTS & set(types_of(beats))


def test_a_message_that_failed_is_the_end() -> None:
    failed = [types_of(beats) for beats in some_conversations() if "message.failed" in types_of(beats)]
    assert failed
    for types in failed:
        assert types[-1] == "message.failed"
        assert "message.sent" not in types


def test_every_turn_is_taken_by_some_conversation() -> None:
    seen = {event_type for beats in some_conversations() for event_type in types_of(beats)}
    assert seen >= {"message.edited", "message.failed", "reaction.added", "reaction.removed", "participant.added"}
    assert seen >= {"participant.removed", "chat.group_name_updated", "chat.group_icon_updated"}
    assert seen <= set(KNOWN_EVENT_TYPES)


def test_polls_calls_and_trouble_with_the_line_happen_between_conversations() -> None:
    beats = list(islice(conversations(LINES, 1), 20 * MANY))
    seen = {beat.event_type for beat in beats}
    assert seen >= {"poll.received", "poll.vote.added", "call.ended", "call.no_answer", "phone_number.status_updated"}
    assert seen >= {"location.sharing.started", "contact_card.received"}
    messages = sum(beat.event_type.startswith(("message.", "chat.")) for beat in beats)
    assert messages > 0.6 * len(beats)


@quick
@given(seed=st.integers(0, 2**32), version=st.sampled_from([NEW, OLD]))
def test_every_beat_has_a_payload_that_the_relay_understands(seed: int, version: str) -> None:
    for beat in islice(conversations(LINES, seed), 12):
        body = envelope(beat.event_type, "e-1", data_of(beat.event_type, beat.scene, version), version, MOMENT)
        event = understand(Dialect.V3, body, None).event
        assert event.type == beat.event_type
        assert event.line in {None, beat.scene.line}
        assert event.facts.chat in {None, beat.scene.chat_id}
