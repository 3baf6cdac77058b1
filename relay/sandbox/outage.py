"""Messages of an outage: many at once, over all lines and some time, for which no webhook is sent."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from relay.sandbox.history import MAX_MESSAGES
from relay.sandbox.payloads import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FIRST_CUSTOMER = 13035550000
_OURS = 0.4
"""Share of the messages that the lines send."""


class Outage(BaseModel):
    """Request for the messages of an outage: the body of `POST /sandbox/outage`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    messages: int = Field(ge=1, le=MAX_MESSAGES)
    chats: int = Field(100, ge=1, le=50_000)
    """Number of chats, spread over all lines; each gets about the same number of messages."""
    seconds: float = Field(3600, gt=0, le=30 * 86400)
    """Length of the outage, which ends now."""
    seed: int = 1
    """Seed of ids and directions: the same one makes the same."""


def messages_of(outage: Outage, lines: Sequence[str]) -> Iterator[tuple[str, Scenario]]:
    """Yield event type and content of each message, oldest first."""
    rng = random.Random(outage.seed)  # noqa: S311  a simulation, not a secret
    began = datetime.now(UTC) - timedelta(seconds=outage.seconds)
    chats = [
        Scenario(
            line=lines[number % len(lines)],
            customer=f"+{_FIRST_CUSTOMER + number}",
            chat_id=_uuid(rng),
            message_id="",
            service=rng.choice(("iMessage", "RCS", "SMS")),
            occurred_at=began,
        )
        for number in range(outage.chats)
    ]
    for number in range(outage.messages):
        chat = chats[number % len(chats)]
        at = began + timedelta(seconds=outage.seconds * number / outage.messages)
        ours = rng.random() < _OURS
        text = f"Message {number + 1}"
        yield (
            "message.sent" if ours else "message.received",
            replace(chat, text=text, message_id=_uuid(rng), occurred_at=at, ours=ours),
        )


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
