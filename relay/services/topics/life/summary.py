"""The state of a message, and what is missing in its life.

Both are computed from its steps, so that the parts of a search can be joined. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from relay.services.topics.life.steps import BEGINNINGS, Facts, Step

RECEIPTS = ("message.delivered", "message.read", "message.failed")
"""Types by which Linq tells what became of a message that was sent."""


class MessageState(StrEnum):
    """The state of a message, as far as its events tell."""

    RECEIVED = "received"
    SENT = "sent"
    """Sent, and neither delivered nor failed as far as is known."""
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """No event tells it: there are only edits, reactions or replies."""


@dataclass(frozen=True, slots=True)
class Life:
    """The life of a message."""

    message: str
    steps: tuple[Step, ...]
    """In the order of their times."""
    facts: Facts
    untaken: tuple[str, ...] = ()
    """The `RECEIPTS` that no topic which the principal sees takes, of a message of this line."""
    cursor: str | None = None
    """Continues the search; None if all that can have a step was searched."""
    searched_to_ms: int | None = None
    """Everything that was routed since then was searched, Unix milliseconds; None if there is no cursor."""

    @property
    def state(self) -> MessageState:
        """The state of the message."""
        kinds, facts = {step.kind for step in self.steps}, self.facts
        if "read" in kinds or facts.read_ms is not None:
            return MessageState.READ
        if "delivered" in kinds or facts.delivered_ms is not None:
            return MessageState.DELIVERED
        if "failed" in kinds:
            return MessageState.FAILED
        if "received" in kinds or facts.direction == "inbound":
            return MessageState.RECEIVED
        return MessageState.SENT if "sent" in kinds or facts.sent_ms is not None else MessageState.UNKNOWN

    @property
    def notes(self) -> tuple[str, ...]:
        """The events that are missing, and the facts that are not known."""
        return tuple(_notes(self))

    def searched(self, cursor: str | None) -> Life:
        """Return the same, after the search continued and found nothing more."""
        return replace(self, cursor=cursor, searched_to_ms=None if cursor is None else int(cursor.partition("-")[0]))

    def joined(self, older: Life) -> Life:
        """Return this part and the one that the search found when it continued."""
        return replace(
            older,
            steps=in_order((*self.steps, *older.steps)),
            facts=self.facts.joined(older.facts),
            untaken=older.untaken if older.steps else self.untaken,
        )


def in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return steps in the order of their times, each event once."""
    return tuple(sorted({step.event: step for step in steps}.values(), key=lambda step: (step.at_ms, step.routed_ms)))


def _notes(life: Life) -> list[str]:
    kinds, notes = {step.kind for step in life.steps}, []
    if "failed" in kinds and life.state in {MessageState.DELIVERED, MessageState.READ}:
        notes.append("It failed and was delivered after all, which Linq says is rare but can happen.")
    if life.state is MessageState.SENT:
        notes.append(_missing_receipt(life))
    for kind, ms in (("delivered", life.facts.delivered_ms), ("read", life.facts.read_ms)):
        if ms is not None and kind not in kinds and life.cursor is None:
            notes.append(f"No topic holds its message.{kind}; a later event tells that it was {kind}.")
    if life.cursor is not None:
        notes.append("Not everything was searched: there may be earlier steps.")
    elif not kinds & BEGINNINGS:
        notes.append(
            "No topic holds its beginning, message.sent or message.received: it was trimmed, never came, or no topic "
            "that you may read takes it."
        )
    if life.facts.direction == "outbound" and "message.failed" in life.untaken and "failed" not in kinds:
        notes.append("No topic that you may read takes message.failed of this line: a failure would not be seen here.")
    if any(step.has is None for step in life.steps):
        notes.append("There was no time to look up what every subscription has of each step.")
    return notes


def _missing_receipt(life: Life) -> str:
    if life.facts.service == "SMS" or life.facts.is_group:
        return "It was sent. Linq sends no receipts for SMS and in groups, so its delivery is not known."
    if "message.delivered" in life.untaken:
        return "It was sent. No topic that you may read takes message.delivered of the line: its delivery is not known."
    return "It was sent, and neither message.delivered nor message.failed has come."
