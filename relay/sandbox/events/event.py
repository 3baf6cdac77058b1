"""An event in the form of each of Linq's APIs: v3 in any payload version, v2, or a verbatim body."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.event import Dialect
from relay.linq.payloads.fields import payload_fields
from relay.sandbox.payloads import OLD, data_of, envelope
from relay.sandbox.payloads.v2 import v2_body, v2_type_of
from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relay.sandbox.payloads import Scenario

_RECONCILABLE = frozenset({"message.sent", "message.received", "message.delivered", "message.read"})


class Content(NamedTuple):
    """The content of a v3 delivery."""

    body: bytes
    chat: str | None
    """Id of the chat; None if the event has none."""


@dataclass(frozen=True, slots=True)
class V3Event:
    """An event in the form of v3."""

    event_type: str
    event_id: str
    occurred_at: datetime
    data: Callable[[str], dict[str, Any]]
    """Builds the `data` for a payload version."""
    version: str | None = None
    """Payload version for all subscriptions; None for the version that each requests."""
    reconciled_at: datetime | None = None
    message: str | None = None
    """Id of the message; None if it is not a message event."""

    def content(self, version: str, reconciled_at: datetime | None) -> Content:
        """Build the content for payload version `version`; `reconciled_at` marks messages that Linq recovered later."""
        chosen = self.version or version
        data = self.data(chosen)
        reconciled = reconciled_at or self.reconciled_at
        if reconciled is not None and self.event_type in _RECONCILABLE:
            mark = {"reconciled_at": rfc3339(reconciled)}
            message = data.get("message") if chosen == OLD else None
            data = {**data, "message": {**message, **mark}} if isinstance(message, dict) else {**data, **mark}
        body = envelope(self.event_type, self.event_id, data, chosen, self.occurred_at, self.message)
        return Content(body, payload_fields(Dialect.V3, self.event_type, data).chat)


@dataclass(frozen=True, slots=True)
class V2Event:
    """An event in the form of v2."""

    event_type: str
    event_id: str
    occurred_at: datetime
    scenario: Scenario

    def body(self) -> bytes:
        """Build the body for all subscriptions."""
        return v2_body(self.event_type, self.scenario, self.event_id, self.occurred_at)


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event with a verbatim body, for either API."""

    event_type: str
    event_id: str
    text: bytes
    chat: str | None = None

    def content(self, _: str, __: datetime | None) -> Content:
        """Return the content for all v3 subscriptions."""
        return Content(self.text, self.chat)

    def body(self) -> bytes:
        """Return the body for all v2 subscriptions."""
        return self.text


@dataclass(frozen=True, slots=True)
class SandboxEvent:
    """An event with its form in each API; None where the API has no such event."""

    event_type: str
    event_id: str
    """Event id in the API of `event_type`."""
    line: str | None
    v3: V3Event | RawEvent | None = None
    v2: V2Event | RawEvent | None = None
    scenario: Scenario | None = None
    """Its content; None for a body or data that cannot be read."""
    reconciled_at: datetime | None = None


def event_for_both_apis(v3_event: V3Event, scenario: Scenario, line: str | None) -> SandboxEvent:
    """Build an event from its v3 form, with the v2 form if v2 has an event type for it."""
    v2_type = v2_type_of(v3_event.event_type)
    v2 = V2Event(v2_type, v2_event_id(v3_event.event_id), v3_event.occurred_at, scenario) if v2_type else None
    reconciled = v3_event.reconciled_at
    return SandboxEvent(v3_event.event_type, v3_event.event_id, line, v3_event, v2, scenario, reconciled)


def v3_event_of(event_type: str, event_id: str, occurred_at: datetime, scenario: Scenario) -> V3Event:
    """Build the v3 form of an event."""
    message = scenario.message_id if event_type.startswith("message.") else None
    return V3Event(
        event_type, event_id, occurred_at, lambda version: data_of(event_type, scenario, version), message=message
    )


def v2_event_id(event_id: str) -> str:
    """Derive the id of the v2 form: Linq does not document that both APIs use the same id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"v2 {event_id}"))
