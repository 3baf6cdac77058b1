"""Events sent on request: any type of either API, with default, chosen or verbatim content."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from relay.core.config.fields import Line
from relay.core.json_text import parse_json
from relay.linq.payloads.event_types import is_of_lines
from relay.sandbox.events.event import RawEvent, SandboxEvent, V2Event, V3Event, event_for_both_apis, v3_event_of
from relay.sandbox.history import scenario_of
from relay.sandbox.payloads import NEW, Scenario, data_of
from relay.sandbox.payloads.messages import FAILURES
from relay.sandbox.payloads.v2 import v2_types

_SCENARIO_FIELDS = {
    *("chat_id", "message_id", "customer", "others", "text", "service", "is_group"),
    *("ours", "options", "code", "flagged", "occurred_at"),
}


def _failure_code(code: int) -> int:
    if code not in FAILURES:
        raise ValueError(f"not an error code of Linq; use one of {', '.join(map(str, FAILURES))}")
    return code


class Emission(BaseModel):
    """Request for one event; fields that are left out get defaults."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    type: Annotated[str, Field(min_length=1)]
    api: Literal["v3", "v2"] = "v3"
    """API of `type`. A v3 event is also sent to v2 subscriptions in its v2 form, if v2 has one."""
    line: Line | None = None
    account: str = ""
    """API key of the account of an event without a line; by default the first one."""
    event_id: Annotated[str, Field(pattern=r"^[ -~]{1,200}$")] | None = None
    """Printable ASCII, because it is sent as a header."""
    chat_id: str | None = None
    message_id: str | None = None
    customer: str | None = None
    text: str | None = None
    service: Literal["iMessage", "RCS", "SMS"] | None = None
    is_group: bool | None = None
    others: tuple[str, ...] | None = None
    """Other members of a group: numbers or e-mail addresses."""
    ours: bool | None = None
    """True if the line is the actor of a call, edit, reaction, vote or rename; else the customer."""
    options: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Options of a poll."""
    code: Annotated[int, AfterValidator(_failure_code)] | None = None
    """Error code of `message.failed` and `poll.failed`."""
    flagged: bool | None = None
    """New status in `phone_number.status_updated`: flagged or healthy."""
    occurred_at: AwareDatetime | None = None
    """Time of the message, such as one in the past; by default now."""
    silent: bool | None = None
    """True if no webhook is sent for it, as in an outage of Linq's delivery."""
    reconciled_at: AwareDatetime | None = None
    """Marks a message that Linq recovered later (payload version 2026-02-03)."""
    version: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None
    """A v3 payload version, also an unknown one; by default the version in the URL of each subscription."""
    data: dict[str, Any] | None = None
    """The `data` of a v3 event, sent to v3 subscriptions only; by default the built-in payload of the type."""
    body: str | None = None
    """The verbatim body, sent to the subscriptions of `api`."""

    @model_validator(mode="after")
    def _has_single_payload(self) -> Emission:
        if self.api == "v2" and self.data is not None:
            raise ValueError('"data" is for v3 events only; for a v2 event, give the whole "body"')
        if self.data is not None and self.body is not None:
            raise ValueError('give "data" or "body", not both')
        return self


class Emissions(Emission):
    """The body of `POST /sandbox/emit`: `count` events that differ only in their ids."""

    count: int = Field(1, ge=1, le=10_000)

    @model_validator(mode="after")
    def _has_unique_ids(self) -> Emissions:
        if self.event_id is not None and self.count > 1:
            raise ValueError('"event_id" is for a single event; leave out "event_id" or "count"')
        return self


def build_event(emission: Emission, lines: list[str]) -> SandboxEvent:
    """Build the event; without a line, a type that needs one happens on the first of `lines`.

    Raises:
        KeyError: the sandbox has no payload for this type, and none was given.
    """
    event_type, line = emission.type, emission.line
    event_id = emission.event_id or str(uuid.uuid4())
    occurred_at = datetime.now(UTC)
    if emission.body is not None:
        raw_event = RawEvent(event_type, event_id, emission.body.encode(), emission.chat_id)
        said = scenario_of(_data_in(emission.body), line)
        v3, v2 = (raw_event, None) if emission.api == "v3" else (None, raw_event)
        return SandboxEvent(event_type, event_id, line, v3, v2, said)
    if line is None and emission.data is None and is_of_lines(event_type):
        line = lines[0]
    scenario = Scenario(line=line or lines[0], **emission.model_dump(include=_SCENARIO_FIELDS, exclude_none=True))
    if emission.api == "v2":
        if event_type not in v2_types():
            raise KeyError(event_type)
        v2_event = V2Event(event_type, event_id, occurred_at, scenario)
        return SandboxEvent(event_type, event_id, line, v2=v2_event, scenario=scenario)
    if emission.data is not None:
        data = emission.data
        v3_event = V3Event(event_type, event_id, occurred_at, lambda _: data, emission.version, emission.reconciled_at)
        said = scenario_of(data, line)
        return SandboxEvent(event_type, event_id, line, v3_event, None, said, emission.reconciled_at)
    data_of(event_type, scenario, NEW)
    v3_event = replace(
        v3_event_of(event_type, event_id, occurred_at, scenario),
        version=emission.version,
        reconciled_at=emission.reconciled_at,
    )
    return event_for_both_apis(v3_event, scenario, line)


def _data_in(body: str) -> object:
    """Return the `data` of a body; None without one."""
    try:
        event = parse_json(body.encode())
    except ValueError:
        return None
    return event.get("data") if isinstance(event, dict) else None
