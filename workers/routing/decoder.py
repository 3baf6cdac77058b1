"""From inbox entries to events that rules can be matched against.

Each entry is decoded by itself; one that cannot be decoded becomes `Undecodable` and does not block the others. Then
the chat -> line index learns from the whole batch, and an event that proves no line gets the one of its chat.

With several accounts, a line that is not of the account whose secret verified the event does not count
(`store.keyring.line_accounts`). v2's does: its one account is that of `LINQ_V2_TOKEN`, and Linq does not say which of
v3's that is. So does a line of what the relay itself has put back, from messages that Linq has listed for a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import structlog

from relay.bootstrap.reactions import RELEASED, account_event_of
from relay.core.errors import Unparsable
from relay.core.event import Dialect, Event
from relay.linq.payloads.decode import decode
from relay.linq.payloads.envelope import read_envelope
from relay.linq.payloads.event_types import REACTED_TO, is_of_lines
from relay.process.telemetry.context import trace_id_of
from relay.store.inbox import quarantine
from relay.store.inbox.chat_lines import Sighting
from relay.store.keyring.line_accounts import is_of_another, may_prove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.account_events import AccountEvent
    from relay.store.inbox.chat_lines import ChatLines
    from relay.store.inbox.inbox import InboxEntry
    from relay.store.keyring.line_accounts import Accounts

_BUG = "quarantined: list it with relay quarantine list, report this bug, and retry it after an upgrade"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Undecodable:
    """The result for an entry that is no event; it is quarantined."""

    reason: str
    type: ClassVar[str] = ""
    """The type of an event, which this is not."""


async def decode_batch(
    entries: Sequence[InboxEntry], chats: ChatLines, token: str, accounts: Accounts | None = None
) -> list[Event | Undecodable]:
    """Decode the event in each entry, in order; `token` is that of the router's lease, `accounts` has those of lines.

    Raises:
        LeaseLost: another worker holds the router's lease.
    """
    decoded = [_decode(entry, accounts) for entry in entries]
    sightings = [_sighting(entry, event) for entry, event in zip(entries, decoded, strict=True)]
    lines = await chats.resolve(sightings, token)
    by_chat = [line for line, sighting in zip(lines, sightings, strict=True) if sighting.chat and not sighting.line]
    if by_chat:
        log.info("lines.by_chat", events=len(by_chat), known=sum(line is not None for line in by_chat))
    if accounts is not None:  # an older release has learned from any payload
        lines = [
            line if line is None or sighting.line or _may_have(accounts, sighting, line) else None
            for line, sighting in zip(lines, sightings, strict=True)
        ]
    return [
        event._replace(line=line) if isinstance(event, Event) and event.line != line else event
        for event, line in zip(decoded, lines, strict=True)
    ]


def account_events_in(
    entries: Sequence[InboxEntry], events: Sequence[Event | Undecodable], now_ms: int, accounts: Accounts | None = None
) -> list[AccountEvent]:
    """Return the events of a decoded batch that the relay itself reacts to (`bootstrap.reactions`).

    Of what the secret of a line verified, only types count that a line's subscription has. That a line is released, for
    which its subscription may be deleted sooner, counts from its own secret or account only; else it causes a look.
    """
    if REACTED_TO.isdisjoint([event.type for event in events]):  # nearly always
        return []
    found = [
        (entry, account_event_of(read_envelope(entry.body), now_ms))
        for entry, event in zip(entries, events, strict=True)
        if event.type in REACTED_TO and entry.dialect is Dialect.V3 and (entry.line is None or is_of_lines(event.type))
    ]
    return [
        event._replace(line=None)
        if event.type == RELEASED and event.line and not _may_release(accounts, entry, event.line)
        else event
        for entry, event in found
    ]


def _may_release(accounts: Accounts | None, entry: InboxEntry, line: str) -> bool:
    return entry.line == line if entry.line else not is_of_another(accounts, entry.account, line)


def poisoned(entry: InboxEntry, error: Exception, event: Event | None = None) -> Undecodable:
    """Log a bug that an entry has triggered and return its result: one poison message must not block the others.

    `event` is what it was decoded to, if it was.
    """
    about = {} if event is None else {"id": event.id, "trace_id": trace_id_of(event.trace_id, event.id)}
    log.error("event.poisoned", entry=entry.entry.decode(), **about, note=_BUG, exc_info=error)
    return Undecodable(f"{type(error).__name__}: {error}")


def _decode(entry: InboxEntry, accounts: Accounts | None) -> Event | Undecodable:
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
    elif accounts is not None and event.line and not (entry.line or entry.source):
        event = _of_account(entry, event, event.line, accounts)
    return event if entry.account is None else event._replace(account=entry.account)


def _of_account(entry: InboxEntry, event: Event, line: str, accounts: Accounts) -> Event:
    """Return an event without its line if that is not of the account whose secret verified it."""
    if entry.dialect is Dialect.V2 or may_prove(accounts, entry.account, line):
        return event
    log.warning(
        "event.line_of_another_account",
        id=event.id,
        type=event.type,
        trace_id=trace_id_of(event.trace_id, event.id),
        account=entry.account,
        payload_line=line,
        line_accounts=sorted(name or "" for name in accounts.get(line, ())),
    )
    return event._replace(line=None)


def _may_have(accounts: Accounts, sighting: Sighting, line: str) -> bool:
    return sighting.dialect is Dialect.V2 or may_prove(accounts, sighting.account, line)


def _sighting(entry: InboxEntry, event: Event | Undecodable) -> Sighting:
    if isinstance(event, Event):
        return Sighting(entry.dialect, event.fields.chat, event.line, entry.account)
    return Sighting(entry.dialect, None, None)
