"""From an arrival to an event: the envelope read whole, the payload's facts, and whose line it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.core.event import Event
from relay.linq.payloads.envelope import read_envelope
from relay.linq.payloads.fields import facts_of

if TYPE_CHECKING:
    from relay.core.event import Dialect


class Understood(NamedTuple):
    """An event, and whether its payload names another line than the URL it came through."""

    event: Event
    line_disputed: bool


def understand(dialect: Dialect, body: bytes, line: str | None) -> Understood:
    """The event in `body`.

    `line` is the one that the authenticated URL proved, if it was bound to one; it wins over the payload's.

    Raises:
        Unparsable: `body` is no envelope.
    """
    envelope = read_envelope(body)
    facts = facts_of(dialect, envelope.event_type, envelope.data)
    event = Event(
        id=envelope.event_id,
        type=envelope.event_type,
        version=envelope.version(dialect),
        line=line or facts.line,
        facts=facts,
        created_at=envelope.created_at,
        trace_id=envelope.trace_id,
    )
    return Understood(event, line_disputed=bool(line and facts.line and line != facts.line))
