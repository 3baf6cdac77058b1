"""The move of a decoded entry of the inbox: into its topics, or into the quarantine. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event import Dialect, Event, source_name
from relay.store.gaps.message_index import message_key
from relay.store.inbox import quarantine
from relay.store.inbox.inbox import InboxEntry, Move
from relay.store.topics.record import Proof, fields_of, mark_source
from workers.routing.decoder import Undecodable, poisoned

if TYPE_CHECKING:
    from collections.abc import Container

    from relay.core.conditions.content import Facts
    from relay.core.config.topics import TopicIndex

# Bytes, since they are joined for every event.
_BY_URL, _BY_PAYLOAD, _BY_CHAT, _UNPROVED = (f"{proof} ".encode() for proof in Proof)


def move_of(
    entry: InboxEntry, event: Event | Undecodable, index: TopicIndex, indexed: Container[str], facts: Facts
) -> Move:
    """Return the topics of an entry by the rules; it is quarantined if it cannot be routed."""
    if isinstance(event, Event):
        try:
            topics, message, key = index.match(event, entry.body, facts), event.fields.message, b""
            if message and event.type in indexed and entry.dialect is Dialect.V3:
                key = message_key(event.type, event.line, message)
            if not topics:
                return Move(entry.entry, topics, (event.type,), len(entry.body), message=key)
            fields = fields_of(event, entry.at, entry.webhook_id, entry.body, _via(entry, event))
            if entry.source:
                mark_source(fields, entry.source)
            return Move(entry.entry, topics, fields, len(entry.body), message=key)
        except Exception as error:  # noqa: BLE001  see `poisoned`
            event = poisoned(entry, error, event)
    quarantine_fields = quarantine.fields_of(
        source_name(entry.dialect, entry.account), entry.line, entry.body, event.reason, entry.at
    )
    source = {"source": entry.source} if entry.source else {}
    pairs = {**quarantine_fields, "webhook_id": entry.webhook_id, "via": entry.via, **source}.items()
    return Move(entry.entry, (), [part for pair in pairs for part in pair], len(entry.body), quarantined=True)


def _via(entry: InboxEntry, event: Event) -> bytes:
    """Return the origin of an event, as its topics' entries have it; empty if it is not known."""
    if not entry.via:
        return b""
    if entry.line:
        return _BY_URL + entry.via
    if not event.line:
        return _UNPROVED + entry.via
    return (_BY_PAYLOAD if event.fields.line == event.line else _BY_CHAT) + entry.via
