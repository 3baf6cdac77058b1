"""From inbox entries to events that rules can be matched against.

Each entry is decoded by itself; one that cannot be decoded becomes `Undecodable` and does not block the others. Then
the chat -> line index learns from the whole batch, and an event that proves no line gets the one of its chat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import structlog

from relay.bootstrap.reactions import account_event_of
from relay.core.errors import Unparsable
from relay.core.event import Dialect, Event
from relay.linq.payloads.decode import decode
from relay.linq.payloads.envelope import read_envelope
from relay.linq.payloads.event_types import REACTED_TO, is_of_lines
from relay.process.telemetry.context import trace_id_of
from relay.store.inbox import quarantine
from relay.store.inbox.chat_lines import Sighting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.account_events import AccountEvent
    from relay.store.inbox.chat_lines import ChatLines
    from relay.store.inbox.inbox import InboxEntry

_BUG = "quarantined: list it with relay quarantine list, report this bug, and retry it after an upgrade"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Undecodable:
    """The result for an entry that is no event; it is quarantined."""

    reason: str
    type: ClassVar[str] = ""
    """The type of an event, which this is not."""


async def decode_batch(entries: Sequence[InboxEntry], chats: ChatLines, token: str) -> list[Event | Undecodable]:
    """Decode the event in each entry, in order; `token` is that of the router's lease.

    Raises:
        LeaseLost: another worker holds the router's lease.
    """
    decoded = [_decode(entry) for entry in entries]
    sightings = [_sighting(entry, event) for entry, event in zip(entries, decoded, strict=True)]
    lines = await chats.resolve(sightings, token)
    by_chat = [line for line, sighting in zip(lines, sightings, strict=True) if sighting.chat and not sighting.line]
    if by_chat:
        log.info("lines.by_chat", events=len(by_chat), known=sum(line is not None for line in by_chat))
    return [
        event._replace(line=line) if isinstance(event, Event) and event.line != line else event
        for event, line in zip(decoded, lines, strict=True)
    ]


def account_events_in(
    entries: Sequence[InboxEntry], events: Sequence[Event | Undecodable], now_ms: int
) -> list[AccountEvent]:
    """Return the events of a decoded batch that the relay itself reacts to (`bootstrap.reactions`).

    Of what the secret of a line verified, only types count that a line's subscription has.
    """
    if REACTED_TO.isdisjoint([event.type for event in events]):  # nearly always
        return []
    return [
        account_event_of(read_envelope(entry.body), now_ms)
        for entry, event in zip(entries, events, strict=True)
        if event.type in REACTED_TO and entry.dialect is Dialect.V3 and (entry.line is None or is_of_lines(event.type))
    ]


def poisoned(entry: InboxEntry, error: Exception, event: Event | None = None) -> Undecodable:
    """Log a bug that an entry has triggered and return its result: one poison message must not block the others.

    `event` is what it was decoded to, if it was.
    """
    about = {} if event is None else {"id": event.id, "trace_id": trace_id_of(event.trace_id, event.id)}
    log.error("event.poisoned", entry=entry.entry.decode(), **about, note=_BUG, exc_info=error)
    return Undecodable(f"{type(error).__name__}: {error}")


def _decode(entry: InboxEntry) -> Event | Undecodable:
    try:
        decoded = decode(entry.dialect, entry.body, entry.line)
    except Unparsable as error:
        log.error(  # noqa: TRY400  expected: no traceback
            "event.quarantined",
            entry=entry.entry.decode(),
            reason=str(error),
            dialect=entry.dialect,
            account=entry.account,
            line=entry.line,
            bytes=len(entry.body),
            note=quarantine.NOTE,
        )
        return Undecodable(str(error))
    except Exception as error:  # noqa: BLE001  see `poisoned`
        return poisoned(entry, error)
    event = decoded.event
    if decoded.line_disputed:
        log.warning(
            "event.line_disputed",
            id=event.id,
            type=event.type,
            trace_id=trace_id_of(event.trace_id, event.id),
            url_line=event.line,
            payload_line=event.fields.line,
        )
    return event if entry.account is None else event._replace(account=entry.account)


def _sighting(entry: InboxEntry, event: Event | Undecodable) -> Sighting:
    if isinstance(event, Event):
        return Sighting(entry.dialect, event.fields.chat, event.line, entry.account)
    return Sighting(entry.dialect, None, None)
