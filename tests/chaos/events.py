"""What is sent: every event is a function of its number, so nobody has to remember an event to know it again."""

from __future__ import annotations

import base64
import json
from functools import cache
from hashlib import sha256

from relay.core.secret import SigningSecret

LINES = tuple(f"+1646555012{digit}" for digit in range(8))

_PREFIX = "chaos-"
_TYPES = (
    "message.received",
    "message.delivered",
    "reaction.added",
    "message.failed",  # like the next, it carries no number at Linq either: the URL proves the line
    "chat.typing_indicator.started",
)
_CHATS = 200  # of each line
_TEXT = "Käse, 漢字 \\u00e9 and a smile \U0001f642; "  # what a relay that parsed and wrote it again would change


def event_id(number: int) -> str:
    """The id of an event."""
    return f"{_PREFIX}{number}"


def number_of(event: str) -> int | None:
    """The number behind an event's id; None for an id that is not of ours."""
    digits = event.removeprefix(_PREFIX)
    return int(digits) if event.startswith(_PREFIX) and digits.isdecimal() else None


def line_of(number: int) -> int:
    """The position in `LINES` of an event's line."""
    return number % len(LINES)


def type_of(number: int) -> str:
    """The type of an event."""
    return _TYPES[number // len(LINES) % len(_TYPES)]


def body_of(number: int) -> bytes:
    """What Linq signs and posts: the envelope of v3, with blanks where they need not be."""
    chat = number // len(LINES) % _CHATS
    return (
        f'{{"api_version": "v3",  "webhook_version":"2026-02-03", "event_type": "{type_of(number)}",'
        f' "event_id": "{event_id(number)}", "created_at": "2026-09-14T09:15:02.417203911Z",'
        f' "trace_id": "{number:032x}", "partner_id": "prt_chaos",'
        f' "data": {{"chat_id": "chat-{line_of(number)}-{chat}", "text": {_QUOTED}, "n": {number}.0}}}}\n'
    ).encode()


@cache
def secret_of(owner: str) -> SigningSecret:
    """The secret of a line or of a team: made from its name, and good for nothing but a run on this machine."""
    return SigningSecret("whsec_" + base64.b64encode(sha256(owner.encode()).digest()).decode())


_QUOTED = json.dumps(_TEXT * 5, ensure_ascii=False)
