"""Simulated conversations: endless events over all lines, in a realistic order, repeatable by a seed.

In most conversations a customer writes and gets a reply. Some contain a group, a poll, a call, a message that fails or
a line that Linq flags. Events that a service does not have are not generated: SMS has no edits or reactions, and
neither SMS nor groups have typing indicators or receipts (https://docs.linqapp.com/guides/webhooks/events).
"""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from relay.sandbox.payloads import Scenario
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


class ConversationStep(NamedTuple):
    """An event of a conversation."""

    event_type: str
    scenario: Scenario


def conversations(lines: Sequence[str], seed: int) -> Iterator[ConversationStep]:
    """Yield the events of endless conversations over all lines, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311  a simulation, not a secret
    while True:
        yield from conversation(rng.choice(lines), rng)


def conversation(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Yield the events of one conversation on `line`, with a randomly chosen flow."""
    (flow,) = rng.choices(list(_FLOWS), list(_FLOWS.values()))
    return flow(line, rng)


def _questions(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate one to three questions, each with its reply."""
    chat = _chat(line, rng)
    yield ConversationStep("chat.created", chat)
    for _ in range(rng.randint(1, 3)):
        yield from _exchange(chat, rng)


def _failure(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate a reply that fails; in rare cases it is delivered after all."""
    chat = _chat(line, rng)
    yield ConversationStep("chat.created", chat)
    question, reply = rng.choice(_EXCHANGES)
    yield from _question(_next(chat, question, rng))
    failed = replace(_next(chat, reply, rng), code=rng.choice(list(FAILURES)))
    yield ConversationStep("message.failed", failed)
    if _has_receipts(chat) and rng.random() < 0.1:
        yield ConversationStep("message.delivered", failed)


def _group(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate a group that is named and gets a new member, who may leave again."""
    customer, other, another = _customers(rng, 3)
    newcomer = rng.choice((another, *_APPLE_IDS))
    chat = replace(_chat(line, rng), is_group=True, customer=customer, others=(other,))
    larger = replace(chat, others=(other, newcomer))
    joins = replace(chat, customer=newcomer, others=(customer, other))
    yield ConversationStep("chat.created", chat)
    yield ConversationStep(
        "chat.group_name_updated", replace(chat, text=rng.choice(_GROUP_NAMES), ours=rng.random() < 0.3)
    )
    yield from _exchange(chat, rng)
    yield ConversationStep("participant.added", joins)
    yield from _exchange(larger, rng)
    if rng.random() < 0.5:
        yield ConversationStep("participant.removed", joins)


def _poll(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate a poll of the customer or of the line: votes, a new option, a changed vote."""
    chat = replace(_chat(line, rng), service="iMessage")
    yield ConversationStep("chat.created", chat)
    poll = _next(chat, "Which day?", rng)
    if rng.random() < 0.5:
        yield ConversationStep("poll.received", poll)
    else:
        yield from (ConversationStep(event_type, poll) for event_type in ("poll.sent", "poll.delivered", "poll.read"))
    longer = replace(poll, options=(*poll.options, "another day"))
    yield ConversationStep("poll.vote.added", poll)
    yield ConversationStep("poll.updated", longer)
    yield ConversationStep("poll.vote.removed", poll)
    yield ConversationStep("poll.vote.added", longer)
    yield from _exchange(chat, rng)


def _call(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate an inbound or outbound call, which is usually answered."""
    call = replace(_chat(line, rng), ours=rng.random() < 0.5)
    (outcome,) = rng.choices(
        (("ringing", "answered", "ended"), ("ringing", "no_answer"), ("ringing", "declined"), ("failed",)), (6, 2, 1, 1)
    )
    yield ConversationStep("call.initiated", call)
    yield from (ConversationStep(f"call.{status}", call) for status in outcome)


def _flagged(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate a line that Linq flags, and that is healthy again after an exchange."""
    chat = _chat(line, rng)
    yield ConversationStep("phone_number.status_updated", replace(chat, flagged=True))
    yield from _exchange(chat, rng)
    yield ConversationStep("phone_number.status_updated", replace(chat, flagged=False))


def _contact_card(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate a customer who shares their contact card."""
    chat = _chat(line, rng)
    yield ConversationStep("chat.created", chat)
    yield ConversationStep("contact_card.received", chat)
    yield from _exchange(chat, rng)


def _location(line: str, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate a customer who shares their location for a while."""
    chat = replace(_chat(line, rng), service="iMessage")
    yield ConversationStep("location.sharing.started", chat)
    yield from _exchange(chat, rng)
    yield ConversationStep(
        "location.sharing.stopped", replace(chat, occurred_at=chat.occurred_at + LOCATION_SHARED_FOR)
    )


_FLOWS: dict[Callable[[str, random.Random], Iterator[ConversationStep]], int] = {
    _questions: 70,
    _failure: 8,
    _group: 8,
    _poll: 4,
    _call: 4,
    _flagged: 2,
    _contact_card: 3,
    _location: 1,
}
"""Conversation flows with their frequency in percent."""


def _exchange(chat: Scenario, rng: random.Random) -> Iterator[ConversationStep]:
    """Generate a question and its reply, with edits, receipts and reactions if the service has them."""
    question, reply = rng.choice(_EXCHANGES)
    asked, replied = _next(chat, question, rng), _next(chat, reply, rng)
    yield from _question(asked)
    if chat.service == "iMessage" and rng.random() < 0.1:
        yield ConversationStep("message.edited", replace(asked, text=f"{question} Please?"))
    yield ConversationStep("message.sent", replied)
    if _has_receipts(chat):
        yield ConversationStep("message.delivered", replied)
        yield ConversationStep("message.read", replied)
    if chat.service != "SMS" and rng.random() < 0.3:
        yield ConversationStep("reaction.added", replied)
        if rng.random() < 0.3:
            yield ConversationStep("reaction.removed", replied)


def _question(asked: Scenario) -> Iterator[ConversationStep]:
    has_typing = _has_receipts(asked)
    if has_typing:
        yield ConversationStep("chat.typing_indicator.started", asked)
    yield ConversationStep("message.received", asked)
    if has_typing:
        yield ConversationStep("chat.typing_indicator.stopped", asked)


def _has_receipts(chat: Scenario) -> bool:
    """Return True if the chat has typing indicators and receipts."""
    return chat.service != "SMS" and not chat.is_group


def _chat(line: str, rng: random.Random) -> Scenario:
    (customer,) = _customers(rng, 1)
    return Scenario(
        line=line,
        customer=customer,
        chat_id=_uuid(rng),
        message_id=_uuid(rng),
        service=rng.choice(("iMessage", "iMessage", "RCS", "SMS")),
    )


def _next(chat: Scenario, text: str, rng: random.Random) -> Scenario:
    return replace(chat.next_message(text, _uuid(rng)), occurred_at=datetime.now(UTC))


def _customers(rng: random.Random, count: int) -> list[str]:
    return [f"+{number}" for number in rng.sample(_CUSTOMERS, count)]


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
