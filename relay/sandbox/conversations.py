"""Conversations: what happens on a line when a customer writes, in the order it happens, repeatable by a seed."""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, NamedTuple

from relay.sandbox.payloads import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_QUESTIONS = (
    "Is the 3pm slot free?",
    "Where is my order?",
    "Can I reschedule?",
    "Do you ship to Ohio?",
    "Thanks a lot!",
)
_ANSWERS = ("Yes, booked.", "It left this morning.", "Of course, which day?", "We do.", "Any time.")
_GROUP_CHANGES: tuple[tuple[str, ...], ...] = (
    (),
    ("participant.added", "participant.removed"),
    ("chat.group_name_updated",),
    ("chat.group_icon_updated", "chat.background_updated"),
    ("chat.group_name_update_failed",),
)
_INTERLUDES = (
    ("poll.received", "poll.vote.added", "poll.updated", "poll.vote.removed", "poll.reaction.added"),
    ("poll.sent", "poll.delivered", "poll.read", "poll.vote.added"),
    ("poll.failed",),
    ("call.initiated", "call.ringing", "call.answered", "call.ended"),
    ("call.initiated", "call.ringing", "call.no_answer"),
    ("call.initiated", "call.declined"),
    ("phone_number.status_updated",),
    ("location.sharing.started", "location.sharing.stopped"),
    ("contact_card.received",),
)
_INTERLUDE_SHARE = 0.1
_FIRST_CUSTOMER = 13035550100


class Beat(NamedTuple):
    """One event of a conversation."""

    event_type: str
    scene: Scene


def conversation(line: str, dice: random.Random) -> Iterator[Beat]:
    """One exchange: question, typing, answer, receipts; sometimes a reaction, an edit, a failure or a group's life."""
    scene = _scene(line, dice)
    yield Beat("chat.created", scene)
    if scene.is_group:
        yield from _beats(scene, "participant.added", *dice.choice(_GROUP_CHANGES))
    yield Beat("chat.typing_indicator.started", scene)
    yield Beat("message.received", scene)
    yield Beat("chat.typing_indicator.stopped", scene)
    if dice.random() < 0.2:
        yield Beat("message.edited", scene)
    answer = scene.next_message(dice.choice(_ANSWERS), _uuid(dice))
    if dice.random() < 0.1:
        yield Beat("message.failed", answer)
        return
    yield Beat("message.sent", answer)
    if scene.service != "SMS" and not scene.is_group:  # those have no receipts
        yield Beat("message.delivered", answer)
        yield Beat("message.read", answer)
    if dice.random() < 0.4:
        yield Beat("reaction.added", answer)
        if dice.random() < 0.2:
            yield Beat("reaction.removed", answer)


def interlude(line: str, dice: random.Random) -> Iterator[Beat]:
    """Something else on a line: a poll, a call, a place or a card that is shared, trouble with the line itself."""
    yield from _beats(_scene(line, dice), *dice.choice(_INTERLUDES))


def _beats(scene: Scene, *event_types: str) -> Iterator[Beat]:
    return (Beat(event_type, scene) for event_type in event_types)


def _scene(line: str, dice: random.Random) -> Scene:
    return Scene(
        line=line,
        customer=f"+{_FIRST_CUSTOMER + dice.randrange(100)}",
        chat_id=_uuid(dice),
        message_id=_uuid(dice),
        text=dice.choice(_QUESTIONS),
        service=dice.choice(("iMessage", "iMessage", "RCS", "SMS")),
        is_group=dice.random() < 0.2,
    )


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


def conversations(lines: Sequence[str], seed: int) -> Iterator[Beat]:
    """Endless conversations over all lines, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311  a play, not a secret
    while True:
        play = interlude if dice.random() < _INTERLUDE_SHARE else conversation
        yield from play(dice.choice(lines), dice)
