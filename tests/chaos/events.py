"""Events of a run: each is a function of its number, so it can be checked without being stored."""

from __future__ import annotations

import base64
import json
from functools import cache
from hashlib import sha256

from relay.core.secret import SigningSecret
from relay.core.sharding.placement import ShardKey, shard_of

LINES = tuple(f"+1646555012{digit}" for digit in range(8))

_PREFIX = "chaos-"
_TYPES = (
    "message.received",
    "message.delivered",
    "reaction.added",
    "message.failed",  # like the next, it has no phone number at Linq either: the URL proves the line
    "chat.typing_indicator.started",
)
ORDERED_LINE = 4
"""Position of the line with few chats, so that many events of each are under way at once."""
_CHATS = 200  # of each other line
_FEW_CHATS = 12
_TEXT = "Käse, 漢字 \\u00e9 and a smile \U0001f642; "  # a relay that parsed and serialised it again would change it


def event_id(number: int) -> str:
    """Return the id of an event."""
    return f"{_PREFIX}{number}"


def number_of(event: str) -> int | None:
    """Return the number of an event from its id; None for an id that this module did not make."""
    digits = event.removeprefix(_PREFIX)
    return int(digits) if event.startswith(_PREFIX) and digits.isdecimal() else None


def line_of(number: int) -> int:
    """Return the position in `LINES` of an event's line."""
    return number % len(LINES)


def type_of(number: int) -> str:
    """Return the type of an event."""
    return _TYPES[number // len(LINES) % len(_TYPES)]


def chat_of(number: int) -> str:
    """Return the id of an event's chat."""
    line = line_of(number)
    return f"chat-{line}-{number // len(LINES) % (_FEW_CHATS if line == ORDERED_LINE else _CHATS)}"


def shard_of_event(number: int, shards: int) -> int:
    """Return the number of the shard, of so many, that an event is on."""
    return shard_of(ShardKey(event_id(number), chat_of(number)), shards)


def body_of(number: int) -> bytes:
    """Return the body that Linq signs and posts: a v3 envelope with unusual white space."""
    return (
        f'{{"api_version": "v3",  "webhook_version":"2026-02-03", "event_type": "{type_of(number)}",'
        f' "event_id": "{event_id(number)}", "created_at": "2026-09-14T09:15:02.417203911Z",'
        f' "trace_id": "{number:032x}", "partner_id": "prt_chaos",'
        f' "data": {{"chat_id": "{chat_of(number)}", "text": {_QUOTED}, "n": {number}.0}}}}\n'
    ).encode()


@cache
def secret_of(owner: str) -> SigningSecret:
    """Derive the secret of a line or team from its name; of no use outside a run."""
    return SigningSecret("whsec_" + base64.b64encode(sha256(owner.encode()).digest()).decode())


_QUOTED = json.dumps(_TEXT * 5, ensure_ascii=False)
