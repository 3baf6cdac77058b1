"""An event that is emitted on request: any type, of either API, about a scene that can be chosen in part or whole."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from relay.core.config.fields import Line
from relay.linq.payloads.event_types import is_of_lines
from relay.sandbox.events.event import Happening, V2Telling, V3Telling, Verbatim, telling_of, told_by_both
from relay.sandbox.payloads import NEW, Scene, data_of
from relay.sandbox.payloads.messages import FAILURES
from relay.sandbox.payloads.v2 import v2_types

_OF_THE_SCENE = {
    *("chat_id", "message_id", "customer", "others", "text", "service", "is_group"),
    *("ours", "options", "code", "flagged"),
}


def _failure_code(code: int) -> int:
    if code not in FAILURES:
        raise ValueError(f"Linq has no such code; it has {', '.join(map(str, FAILURES))}")
    return code


class Emission(BaseModel):
    """One event to emit."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, Field(min_length=1)]
    api: Literal["v3", "v2"] = "v3"
    """Whose type it is. One of v3 goes to v2 subscriptions too, as the v2 event of the same happening."""
    line: Line | None = None
    event_id: Annotated[str, Field(pattern=r"^[ -~]{1,200}$")] | None = None
    """What a header can carry."""
    chat_id: str | None = None
    message_id: str | None = None
    customer: str | None = None
    text: str | None = None
    service: Literal["iMessage", "RCS", "SMS"] | None = None
    is_group: bool | None = None
    others: tuple[str, ...] | None = None
    """The other members of a group: numbers or e-mail addresses."""
    ours: bool | None = None
    """The line acts, where either side can: it calls, edits, reacts, votes or renames."""
    options: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """A poll's."""
    code: Annotated[int, AfterValidator(_failure_code)] | None = None
    """Why sending failed, for `message.failed` and `poll.failed`."""
    flagged: bool | None = None
    """What `phone_number.status_updated` comes to."""
    reconciled_at: AwareDatetime | None = None
    """Marks a message that Linq recovered later (payload version 2026-02-03)."""
    version: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None
    """A v3 payload version, be it a coming one; else what each subscription's URL asks for."""
    data: dict[str, Any] | None = None
    """The `data` of a v3 event, for v3 subscriptions alone; the sandbox makes one for the types it knows."""
    body: str | None = None
    """The whole body, sent as it is to the subscriptions of `api`."""

    @model_validator(mode="after")
    def _one_payload(self) -> Emission:
        if self.api == "v2" and self.data is not None:
            raise ValueError('"data" is for events of v3; give the whole "body" of a v2 event')
        if self.data is not None and self.body is not None:
            raise ValueError('give "data" or "body", not both')
        return self


class Emissions(Emission):
    """What `POST /sandbox/emit` takes: events that differ in their ids, unless one is given."""

    count: int = Field(1, ge=1, le=10_000)

    @model_validator(mode="after")
    def _one_id_each(self) -> Emissions:
        if self.event_id is not None and self.count > 1:
            raise ValueError('"event_id" is for one event; leave it out, or "count"')
        return self


def happening_of(emission: Emission, lines: list[str]) -> Happening:
    """What has to happen for it. What is made up happens on the first of `lines` if it names none and needs one.

    Raises:
        KeyError: there is no payload for this type, and none was given.
    """
    event_type, line = emission.type, emission.line
    event_id = emission.event_id or str(uuid.uuid4())
    moment = datetime.now(UTC)
    if emission.body is not None:
        verbatim = Verbatim(event_type, event_id, emission.body.encode(), emission.chat_id)
        return Happening(event_type, event_id, line, **{emission.api: verbatim})
    if line is None and emission.data is None and is_of_lines(event_type):
        line = lines[0]
    scene = Scene(line=line or lines[0], **emission.model_dump(include=_OF_THE_SCENE, exclude_none=True))
    if emission.api == "v2":
        if event_type not in v2_types():
            raise KeyError(event_type)
        return Happening(event_type, event_id, line, v2=V2Telling(event_type, event_id, moment, scene))
    if emission.data is not None:
        given = emission.data
        telling = V3Telling(event_type, event_id, moment, lambda _: given, emission.version, emission.reconciled_at)
        return Happening(event_type, event_id, line, telling)
    data_of(event_type, scene, NEW)
    telling = replace(
        telling_of(event_type, event_id, moment, scene),
        version=emission.version,
        reconciled_at=emission.reconciled_at,
    )
    return told_by_both(telling, scene, line)
