"""Conversations: what happens on lines, in the order it happens, repeatable by a seed.

Most are a customer who writes and gets an answer. Now and then one takes another turn: a group, a poll, a call, a
message that fails, a line that Linq flags. What a service cannot do does not happen on it: SMS has no edits or
reactions, and neither SMS nor groups have typing or receipts (https://docs.linqapp.com/guides/webhooks/events).
"""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from relay.sandbox.payloads import Scene
from relay.sandbox.payloads.lines import LOCATION_SHARED_FOR
from relay.sandbox.payloads.messages import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_EXCHANGES = (
    ("Is the 3pm slot free?", "Yes, booked."),
    ("Where is my order?", "It left this morning."),
    ("Can I reschedule?", "Of course, which day?"),
    ("Do you ship to Ohio?", "We do."),
    ("Thanks a lot!", "Any time."),
)
_GROUP_NAMES = ("Lunch Friday", "Move to Denver", "Smith family")
_APPLE_IDS = ("ana.ruiz@example.net", "theo@example.org")
_CUSTOMERS = range(13035550100, 13035550200)


class Beat(NamedTuple):
    """One event of a conversation."""

    event_type: str
    scene: Scene


def conversations(lines: Sequence[str], seed: int) -> Iterator[Beat]:
    """Endless conversations over all lines, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311  a play, not a secret
    while True:
        yield from conversation(dice.choice(lines), dice)


def conversation(line: str, dice: random.Random) -> Iterator[Beat]:
    """What happens on `line` with one customer, by a script that the dice choose."""
    (script,) = dice.choices(list(_SCRIPTS), list(_SCRIPTS.values()))
    return script(line, dice)


def _talk(line: str, dice: random.Random) -> Iterator[Beat]:
    """The plain one: a question or three, each with its answer."""
    chat = _chat(line, dice)
    yield Beat("chat.created", chat)
    for _ in range(dice.randint(1, 3)):
        yield from _exchange(chat, dice)


def _failure(line: str, dice: random.Random) -> Iterator[Beat]:
    """An answer that fails; seldom it gets there all the same."""
    chat = _chat(line, dice)
    yield Beat("chat.created", chat)
    question, answer = dice.choice(_EXCHANGES)
    yield from _question(_next(chat, question, dice))
    failed = replace(_next(chat, answer, dice), code=dice.choice(list(FAILURES)))
    yield Beat("message.failed", failed)
    if _is_live(chat) and dice.random() < 0.1:
        yield Beat("message.delivered", failed)


def _group(line: str, dice: random.Random) -> Iterator[Beat]:
    """A group that gets a name and a member for a while."""
    customer, other, another = _customers(dice, 3)
    newcomer = dice.choice((another, *_APPLE_IDS))
    chat = replace(_chat(line, dice), is_group=True, customer=customer, others=(other,))
    larger = replace(chat, others=(other, newcomer))
    joins = replace(chat, customer=newcomer, others=(customer, other))
    yield Beat("chat.created", chat)
    yield Beat("chat.group_name_updated", replace(chat, text=dice.choice(_GROUP_NAMES), ours=dice.random() < 0.3))
    yield from _exchange(chat, dice)
    yield Beat("participant.added", joins)
    yield from _exchange(larger, dice)
    if dice.random() < 0.5:
        yield Beat("participant.removed", joins)


def _poll(line: str, dice: random.Random) -> Iterator[Beat]:
    """A poll, by the customer or by us: votes, an option that is missing, a change of mind."""
    chat = replace(_chat(line, dice), service="iMessage")
    yield Beat("chat.created", chat)
    poll = _next(chat, "Which day?", dice)
    if dice.random() < 0.5:
        yield Beat("poll.received", poll)
    else:
        yield from (Beat(event_type, poll) for event_type in ("poll.sent", "poll.delivered", "poll.read"))
    longer = replace(poll, options=(*poll.options, "another day"))
    yield Beat("poll.vote.added", poll)
    yield Beat("poll.updated", longer)
    yield Beat("poll.vote.removed", poll)
    yield Beat("poll.vote.added", longer)
    yield from _exchange(chat, dice)


def _call(line: str, dice: random.Random) -> Iterator[Beat]:
    """A call either way, which is answered more often than not."""
    call = replace(_chat(line, dice), ours=dice.random() < 0.5)
    (course,) = dice.choices(
        (("ringing", "answered", "ended"), ("ringing", "no_answer"), ("ringing", "declined"), ("failed",)), (6, 2, 1, 1)
    )
    yield Beat("call.initiated", call)
    yield from (Beat(f"call.{what}", call) for what in course)


def _flagged(line: str, dice: random.Random) -> Iterator[Beat]:
    """A line that Linq flags, and that is healthy again after a talk."""
    chat = _chat(line, dice)
    yield Beat("phone_number.status_updated", replace(chat, flagged=True))
    yield from _exchange(chat, dice)
    yield Beat("phone_number.status_updated", replace(chat, flagged=False))


def _contact_card(line: str, dice: random.Random) -> Iterator[Beat]:
    """A customer who says who they are."""
    chat = _chat(line, dice)
    yield Beat("chat.created", chat)
    yield Beat("contact_card.received", chat)
    yield from _exchange(chat, dice)


def _location(line: str, dice: random.Random) -> Iterator[Beat]:
    """A customer who shows for a while where they are."""
    chat = replace(_chat(line, dice), service="iMessage")
    yield Beat("location.sharing.started", chat)
    yield from _exchange(chat, dice)
    yield Beat("location.sharing.stopped", replace(chat, moment=chat.moment + LOCATION_SHARED_FOR))


_SCRIPTS: dict[Callable[[str, random.Random], Iterator[Beat]], int] = {
    _talk: 70,
    _failure: 8,
    _group: 8,
    _poll: 4,
    _call: 4,
    _flagged: 2,
    _contact_card: 3,
    _location: 1,
}
"""The scripts, and how often of a hundred times each is played."""


def _exchange(chat: Scene, dice: random.Random) -> Iterator[Beat]:
    """A question and its answer, with what the service has: edits, receipts, a reaction that may be taken back."""
    question, answer = dice.choice(_EXCHANGES)
    asked, answered = _next(chat, question, dice), _next(chat, answer, dice)
    yield from _question(asked)
    if chat.service == "iMessage" and dice.random() < 0.1:
        yield Beat("message.edited", replace(asked, text=f"{question} Please?"))
    yield Beat("message.sent", answered)
    if _is_live(chat):
        yield Beat("message.delivered", answered)
        yield Beat("message.read", answered)
    if chat.service != "SMS" and dice.random() < 0.3:
        yield Beat("reaction.added", answered)
        if dice.random() < 0.3:
            yield Beat("reaction.removed", answered)


def _question(asked: Scene) -> Iterator[Beat]:
    live = _is_live(asked)
    if live:
        yield Beat("chat.typing_indicator.started", asked)
    yield Beat("message.received", asked)
    if live:
        yield Beat("chat.typing_indicator.stopped", asked)


def _is_live(chat: Scene) -> bool:
    """Whether typing and receipts are told of."""
    return chat.service != "SMS" and not chat.is_group


def _chat(line: str, dice: random.Random) -> Scene:
    (customer,) = _customers(dice, 1)
    return Scene(
        line=line,
        customer=customer,
        chat_id=_uuid(dice),
        message_id=_uuid(dice),
        service=dice.choice(("iMessage", "iMessage", "RCS", "SMS")),
    )


def _next(chat: Scene, text: str, dice: random.Random) -> Scene:
    return replace(chat.next_message(text, _uuid(dice)), moment=datetime.now(UTC))


def _customers(dice: random.Random, count: int) -> list[str]:
    return [f"+{number}" for number in dice.sample(_CUSTOMERS, count)]


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))
