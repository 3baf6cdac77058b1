"""An event of a topic, as the API shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from relay.web.api.models import Moment, Output

if TYPE_CHECKING:
    from relay.store.topics.record import Record


class TopicEvent(Output):
    """An event of a topic."""

    entry: str
    """Its place in the topic; grows in the order of acceptance."""
    id: str
    """Linq's id of the event: handle each once."""
    type: str
    line: str | None
    chat: str | None
    at: Moment
    """When the relay accepted it."""
    version: str
    webhook_id: str
    message: str | None
    direction: str | None
    service: str | None
    is_group: bool | None
    created: str | None
    """When Linq created it, as Linq wrote it."""
    trace: str | None
    freshness: Literal["live", "history"]
    account: str | None = None
    source: Literal["backfill"] | None
    """`backfill` if the relay made it of a message at Linq, so that Linq did not sign it; otherwise null."""
    body: str
    """The body as Linq signed it: JSON, byte for byte."""


def event_of(record: Record) -> TopicEvent:
    """Return the event of an entry."""
    return TopicEvent.model_construct(**fields_of(record))


def fields_of(record: Record) -> dict[str, Any]:
    """Return the fields of an event, which need no validation."""
    at = datetime.fromtimestamp(record.at / 1000, UTC)
    body = record.body.decode(errors="replace")  # what is not UTF-8 was never routed
    return record._asdict() | {"at": at, "body": body}
