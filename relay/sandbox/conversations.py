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
_FIRST_CUSTOMER = 13035550100


class Beat(NamedTuple):
    """One event of a conversation."""

    event_type: str
    scene: Scene


def conversation(line: str, dice: random.Random) -> Iterator[Beat]:
    """One exchange: question, typing, answer, receipts; sometimes a reaction, an edit or a failure."""
    scene = Scene(
        line=line,
        customer=f"+{_FIRST_CUSTOMER + dice.randrange(100)}",
        chat_id=_uuid(dice),
        message_id=_uuid(dice),
        text=dice.choice(_QUESTIONS),
        service=dice.choice(("iMessage", "iMessage", "RCS", "SMS")),
        is_group=dice.random() < 0.2,
    )
    yield Beat("chat.created", scene)
    if scene.is_group:
        yield Beat("participant.added", scene)
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


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


def conversations(lines: Sequence[str], seed: int) -> Iterator[Beat]:
    """Endless conversations over all lines, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311  a play, not a secret
    while True:
        yield from conversation(dice.choice(lines), dice)
