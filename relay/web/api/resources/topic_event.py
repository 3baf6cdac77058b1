"""An event of a topic, as the API shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from relay.web.api.models import Moment, Output

if TYPE_CHECKING:
    from relay.store.topics.record import Record

Form = TypeVar("Form", bound="TopicEvent")


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
    return formed(TopicEvent, fields_of(record))


def formed(form: type[Form], fields: dict[str, Any]) -> Form:
    """Return an event of these fields in that form.

    Pydantic validates in a third of the time in which it constructs without validation, which is pure Python (3.4 and
    10 us); this is for what a newer release may have written.
    """
    try:
        return form.model_validate(fields)
    except ValidationError:
        return form.model_construct(**fields)


def fields_of(record: Record) -> dict[str, Any]:
    """Return the fields of an event."""
    at = datetime.fromtimestamp(record.at / 1000, UTC)
    body = record.body.decode(errors="replace")  # what is not UTF-8 was never routed
    return record._asdict() | {"at": at, "body": body}
