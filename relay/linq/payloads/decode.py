"""From an arrival to an event: the envelope read whole, the payload's facts, and whose line it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.core.event import Event
from relay.linq.payloads.envelope import read_envelope
from relay.linq.payloads.fields import payload_fields

if TYPE_CHECKING:
    from relay.core.event import Dialect


class Decoded(NamedTuple):
    """An event, and whether its payload names another line than the URL it came through."""

    event: Event
    line_disputed: bool


def decode(dialect: Dialect, body: bytes, line: str | None) -> Decoded:
    """The event in `body`.

    `line` is the one that the authenticated URL proved, if it was bound to one; it wins over the payload's.

    Raises:
        Unparsable: `body` is no envelope.
    """
    envelope = read_envelope(body)
    facts = payload_fields(dialect, envelope.event_type, envelope.data)
    event = Event(
        id=envelope.event_id,
        type=envelope.event_type,
        version=envelope.version(dialect),
        line=line or facts.line,
        fields=facts,
        created_at=envelope.created_at,
        trace_id=envelope.trace_id,
    )
    return Decoded(event, line_disputed=bool(line and facts.line and line != facts.line))
