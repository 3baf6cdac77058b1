"""Changes of a line that Linq tells by events: its status and reputation, and that it is assigned or released. Pure.

`phone_number.status_updated` has both pairs only since June 2026; either may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.lines import is_line
from relay.linq.payloads.envelope import read_envelope
from relay.linq.payloads.instants import unix_ms

if TYPE_CHECKING:
    from relay.core.event import Event

STATUS_UPDATED = "phone_number.status_updated"
ASSIGNED = "phone_number.assigned"
RELEASED = "phone_number.released"
LINE_CHANGES = frozenset({STATUS_UPDATED, ASSIGNED, RELEASED})
"""The event types that tell a change of a line."""

_MAX_TEXT = 40


class LineChange(NamedTuple):
    """A change of a line."""

    line: str
    at_ms: int
    """Time of the change, Unix milliseconds."""
    status: str | None = None
    """Its new status: `ACTIVE` or `FLAGGED`; None if this event does not tell."""
    reputation: str | None = None
    """Its new reputation: `HEALTHY`, `AT_RISK` or `CRITICAL`; None if this event does not tell."""
    is_released: bool | None = None
    """True if Linq took the line from the account, False if it gave it; None if this event does not tell."""
    account: str | None = None
    """The account whose secret verified it."""


def line_change_of(event: Event, body: bytes, accepted_ms: int) -> LineChange | None:
    """Return the change that an event of `LINE_CHANGES` tells; None if it names no line.

    `accepted_ms` is the time of its acceptance, which counts if the event has no time or a later one: a time in the
    future would outlast every true event.
    """
    data = read_envelope(body).data
    line = data.get("phone_number")
    if not isinstance(line, str) or not is_line(line):
        return None
    told = unix_ms(data.get("changed_at")) or unix_ms(event.created_at) or accepted_ms
    at = min(told, accepted_ms) if accepted_ms else told
    if event.type == STATUS_UPDATED:
        return LineChange(line, at, _word(data.get("new_status")), _word(data.get("new_reputation")))
    return LineChange(line, at, is_released=event.type == RELEASED)


def _word(value: Any) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) and value.isascii() and value else None
