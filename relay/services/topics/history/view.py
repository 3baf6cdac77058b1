"""An event as it is shown: its fields, its places in topics, and its body unless bodies are hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.event import Event, Freshness, PayloadFields
from relay.store.sharding.places import entry_name, entry_of
from relay.store.topics.record import record_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an event."""

    size: int
    """Bytes."""
    text: str | None
    """None if bodies are hidden (`RELAY_HIDE_BODIES`)."""

    def __str__(self) -> str:
        """Return the text, or its size in place of it."""
        return f"{self.size} bytes, hidden by RELAY_HIDE_BODIES" if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class Place:
    """An event's entry in a topic."""

    topic: str
    entry: str
    """Its id; on another shard than the first with its number (`sharding.places`)."""

    @classmethod
    def on(cls, shard: int, topic: str, entry_id: str) -> Place:
        """Return the place of an entry on a shard."""
        return cls(topic, entry_name(entry_id, shard))

    @property
    def id(self) -> str:
        """The id of the entry on its shard."""
        return entry_of(self.entry)[0]

    @property
    def shard(self) -> int:
        """The number of its shard."""
        return entry_of(self.entry)[1]

    @property
    def at_ms(self) -> int:
        """Time of routing, Unix milliseconds."""
        return int(self.entry.partition("-")[0])


@dataclass(frozen=True, slots=True)
class EventView:
    """An event as it is shown."""

    id: str
    type: str
    version: str
    line: str | None
    chat: str | None
    message: str | None
    direction: str | None
    service: str | None
    is_group: bool | None
    freshness: Freshness
    created: str | None
    """Time at which Linq created it, as Linq wrote it."""
    trace: str | None
    webhook_id: str
    at_ms: int
    """Time of acceptance, Unix milliseconds."""
    body: Body
    account: str | None = None
    """The account of `[[linq.accounts]]`."""
    places: tuple[Place, ...] = ()
    """The topics that hold it, of those that were looked at and that the principal sees."""
    source: str | None = None
    """`backfill` if the relay made it of a message at Linq."""

    def event(self) -> Event:
        """Return what rules are matched against."""
        reconciled = "history" if self.freshness is Freshness.HISTORY else None
        fields = PayloadFields(
            self.line, self.chat, self.message, self.direction, self.service, self.is_group, reconciled
        )
        return Event(self.id, self.type, self.version, self.line, fields, self.created, self.trace, self.account)


def shown_body(settings: Settings, body: bytes) -> Body:
    """Return a body as the settings let people see it."""
    return Body(len(body), None if settings.relay_hide_bodies else body.decode(errors="replace"))


def view_of(settings: Settings, fields: Mapping[bytes, bytes], *places: Place) -> EventView:
    """Return the event in the fields of an entry."""
    record = record_of(b"0-0", fields)
    return EventView(
        id=record.id,
        type=record.type,
        version=record.version,
        line=record.line,
        chat=record.chat,
        message=record.message,
        direction=record.direction,
        service=record.service,
        is_group=record.is_group,
        freshness=record.freshness,
        created=record.created,
        trace=record.trace,
        webhook_id=record.webhook_id,
        at_ms=record.at,
        body=shown_body(settings, record.body),
        account=record.account,
        places=places,
        source=record.source,
    )
