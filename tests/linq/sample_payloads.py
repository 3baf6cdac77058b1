"""Payloads written in a line: `chat.id=C chat.owner_handle=OURS direction=inbound` is the `data` with these fields.

A path may have dots; a value is one of the words below or literal text; a word without `=` is short for the fields
in `SHAPES`. Tables of such lines give the expected fields of each payload.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from relay.core.event import PayloadFields
from relay.linq.payloads.fields import payload_fields
from tests.building import CUSTOMER, LINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.event import Dialect

OUR_EMAIL = "support@example.com"
"""An Apple-ID address, under which a line can appear."""


def handle(number: str, *, is_me: bool | None, service: str = "iMessage") -> dict[str, Any]:
    """Return a v3 ChatHandle, without `is_me` if that is None."""
    mark = {} if is_me is None else {"is_me": is_me}
    return {"id": "11aa22bb", "handle": number, "service": service, "joined_at": "2026-08-30T14:02:11.402Z", **mark}


def v2_handle(number: str, *, is_me: bool) -> dict[str, Any]:
    """Return an element of v2 `chat_handles`."""
    return {"identifier": number, "display_name": None, "is_me": is_me}


WORDS: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "LINE": LINE,
    "CUSTOMER": CUSTOMER,
    "EMAIL": OUR_EMAIL,
    "OURS": handle(LINE, is_me=True),
    "THEIRS": handle(CUSTOMER, is_me=False),
    "OURS?": handle(LINE, is_me=None),
    "THEIRS?": handle(CUSTOMER, is_me=None),
    "OUR-EMAIL": handle(OUR_EMAIL, is_me=True),
    "BOTH": [handle(CUSTOMER, is_me=False), handle(LINE, is_me=True)],
    "ONLY-THEM": [handle(CUSTOMER, is_me=False), handle("+15035550177", is_me=None)],
    "V2-BOTH": [v2_handle(CUSTOMER, is_me=False), v2_handle(LINE, is_me=True)],
    "V2-ONLY-THEM": [v2_handle(CUSTOMER, is_me=False)],
}

SHAPES = {
    "in": "direction=inbound",
    "out": "direction=outbound",
    "message": "id=M service=RCS chat.id=C",
    "old": "chat_id=C service=RCS is_group=false message.id=M",
    "came": "is_from_me=false from=CUSTOMER from_handle=THEIRS",
    "came?": "is_from_me=false from=CUSTOMER from_handle=THEIRS?",
    "went": "is_from_me=true",
    "poll": "message_id=M service=RCS chat.id=C",
    "reaction": "chat_id=C message_id=M service=RCS reaction_id=r",
    "change": "summary=Changed actor.type=api origin=api change.from=CUSTOMER change.to=CUSTOMER",
    "v2-message": "id=M chat_id=C service=iMessage reaction_id=null",
    "v2-reaction": "id=R chat_message_id=M chat_id=C reaction=like chat_handle.identifier=CUSTOMER",
}


def payload(text: str) -> dict[str, Any]:
    """Return the `data` described by `text`."""
    data: dict[str, Any] = {}
    for word in text.split():
        path, equals, value = word.partition("=")
        if not equals:
            data |= payload(SHAPES[word])
            continue
        *parents, name = path.split(".")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = WORDS.get(value, value)
    return data


def rows(table: str, groups: Mapping[str, str] = MappingProxyType({})) -> list[tuple[str, str, PayloadFields]]:
    """Return event type, payload and fields of each line of `table`: `types | payload | fields in their order`.

    The types are one of `groups` or written out; `-` is None, lines with `#` are comments.
    """
    found = []
    for line in table.strip().splitlines():
        if line.startswith("#"):
            continue
        types, text, expected = line.split("|")
        values = [None if word == "-" else WORDS.get(word, word) for word in expected.split()]
        found += [
            (event_type, " ".join(text.split()), PayloadFields(*values))
            for name in types.split()
            for event_type in groups.get(name, name).split()
        ]
    return found


def misread(
    dialect: Dialect, table: str, groups: Mapping[str, str] = MappingProxyType({})
) -> dict[str, tuple[PayloadFields, PayloadFields]]:
    """Return what is read of the payloads of a table and what it expects, where they differ."""
    found = {
        f"{event_type}: {text}": (payload_fields(dialect, event_type, payload(text)), expected)
        for event_type, text, expected in rows(table, groups)
    }
    return {name: (read, expected) for name, (read, expected) in found.items() if read != expected}
