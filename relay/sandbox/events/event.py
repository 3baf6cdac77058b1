"""Something that happened on a line, and how each of Linq's APIs tells it."""

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

    from relay.sandbox.payloads import Scene

_RECONCILABLE = frozenset({"message.sent", "message.received", "message.delivered", "message.read"})


class Content(NamedTuple):
    """What a v3 delivery carries."""

    body: bytes
    chat: str | None
    """The id of the chat it is about."""


@dataclass(frozen=True, slots=True)
class V3Telling:
    """The event that v3 makes of a happening."""

    event_type: str
    event_id: str
    moment: datetime
    data: Callable[[str], dict[str, Any]]
    """Of a payload version."""
    version: str | None = None
    """A payload version that every subscription gets, whatever it asks for."""
    reconciled_at: datetime | None = None
    message: str | None = None
    """The id of the message that it is about, if it is about one."""

    def content(self, version: str, reconciled_at: datetime | None) -> Content:
        """What a subscription to `version` gets; `reconciled_at` marks messages that Linq recovered later."""
        chosen = self.version or version
        data = self.data(chosen)
        reconciled = reconciled_at or self.reconciled_at
        if reconciled is not None and chosen != OLD and self.event_type in _RECONCILABLE:
            data = {**data, "reconciled_at": rfc3339(reconciled)}
        body = envelope(self.event_type, self.event_id, data, chosen, self.moment, self.message)
        return Content(body, payload_fields(Dialect.V3, self.event_type, data).chat)


@dataclass(frozen=True, slots=True)
class V2Telling:
    """The event that v2 makes of a happening."""

    event_type: str
    event_id: str
    moment: datetime
    scene: Scene

    def body(self) -> bytes:
        """What every subscription gets."""
        return v2_body(self.event_type, self.scene, self.event_id, self.moment)


@dataclass(frozen=True, slots=True)
class Verbatim:
    """An event whose body was given, for either API."""

    event_type: str
    event_id: str
    text: bytes
    chat: str | None = None

    def content(self, _: str, __: datetime | None) -> Content:
        """What every v3 subscription gets."""
        return Content(self.text, self.chat)

    def body(self) -> bytes:
        """What every v2 subscription gets."""
        return self.text


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened, with the event that each API makes of it."""

    event_type: str
    event_id: str
    """As the API says whose type it is."""
    line: str | None
    v3: V3Telling | Verbatim | None = None
    v2: V2Telling | Verbatim | None = None


def told_by_both(telling: V3Telling, scene: Scene, line: str | None) -> Happening:
    """What v3 tells with `telling`, told by v2 as well if it has an event for it."""
    v2_type = v2_type_of(telling.event_type)
    v2 = V2Telling(v2_type, v2_twin(telling.event_id), telling.moment, scene) if v2_type else None
    return Happening(telling.event_type, telling.event_id, line, telling, v2)


def telling_of(event_type: str, event_id: str, moment: datetime, scene: Scene) -> V3Telling:
    """What v3 tells of a scene."""
    message = scene.message_id if event_type.startswith("message.") else None
    return V3Telling(event_type, event_id, moment, lambda version: data_of(event_type, scene, version), message=message)


def v2_twin(event_id: str) -> str:
    """The id of the v2 event of the same happening: Linq says nowhere that both APIs use one."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"v2 {event_id}"))
