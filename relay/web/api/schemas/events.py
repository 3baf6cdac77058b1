"""Schemas of the bodies: one for each event type in each version of Linq's payloads.

A type without a model has the envelope with an open `data`. A class that the SDK shares between modules keeps its name;
one of a single event is named after the event: `PollSentDataChat`. Events whose payload is the same as that of another
one (`_SAME`) share its classes: all changes of the account, and all payments.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from relay.linq.payloads.envelope import OLDEST_V3
from relay.linq.payloads.event_types import V2_TYPES
from relay.sandbox.payloads.versions import NEW, OLD, exists_in
from relay.web.api.schemas import payloads_2025, payloads_v2
from relay.web.api.schemas.generator import MODEL, Json, mapped, schema_of
from relay.web.api.schemas.sdk import EVENT_TYPES, model_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

V2 = "v2"
VERSIONS = (NEW, OLD, V2)
DEFS = "#/$defs/"

_SAME = {"api_token.created": "AccountChange", "payment.succeeded": "Payment"}
"""Prefix of the classes that the event and all with the same payload share."""


class Source(StrEnum):
    """The source of a schema."""

    SDK = "sdk"
    """The models of Linq's SDK."""
    DOCUMENTS = "documents"
    """Linq's documents; the SDK has no model of it."""
    ENVELOPE = "envelope"
    """Neither describes the payload: `data` is any object."""


class EventSchema(NamedTuple):
    """The schema of an event's body."""

    type: str
    name: str
    """The event type in camel case."""
    source: Source
    schema: Json
    """It refers to the definitions of its version with `DEFS`."""


class VersionSchemas(NamedTuple):
    """The schemas of a version of Linq's payloads."""

    version: str
    events: dict[str, EventSchema]
    definitions: dict[str, Json]


@cache
def schemas_by_version() -> dict[str, VersionSchemas]:
    """Return the schemas of each version; takes some seconds, the first time."""
    new = _new_version()
    return {NEW: new, OLD: _old_version(new), V2: _v2_version()}


def camel_case(event_type: str) -> str:
    """Return an event type, or the name of a module, as the name of a class."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[._]", event_type))


def _new_version() -> VersionSchemas:
    definitions = _Definitions()
    shared = {event_type: _definitions_alone(event_type) for event_type in _SAME}
    events: dict[str, EventSchema] = {}
    envelope = schema_of(_required(model_of("message.sent")))
    for event_type in EVENT_TYPES:
        model = model_of(event_type)
        if model is None:
            schema = _with_data(envelope, {"type": "object"})
        else:
            own = _definitions_alone(event_type)
            prefix = next((_SAME[key] for key, same in shared.items() if same == own), None)
            schema = definitions.added(schema_of(model), prefix or camel_case(event_type), is_shared=bool(prefix))
        source = Source.ENVELOPE if model is None else Source.SDK
        events[event_type] = _event(event_type, source, schema, webhook_version={"const": NEW})
    return VersionSchemas(NEW, events, definitions.found)


def _old_version(new: VersionSchemas) -> VersionSchemas:
    definitions = _Definitions(dict(new.definitions))
    events: dict[str, EventSchema] = {}
    for event_type, event in new.events.items():
        if not exists_in(event_type, OLD):
            continue
        source, schema = event.source, event.schema
        if data := payloads_2025.DATA.get(event_type):
            source = Source.DOCUMENTS
            schema = _with_data(schema, definitions.added_data(data, event_type))
        if later := payloads_2025.LATER.get(event_type):
            definitions.make_optional(schema["properties"]["data"], later)
        made = _event(event_type, source, schema, webhook_version={"const": OLD})
        if OLD == OLDEST_V3:
            made.schema["required"] = [name for name in made.schema["required"] if name != "webhook_version"]
        events[event_type] = made
    return VersionSchemas(OLD, events, _used(events, definitions.found))


def _v2_version() -> VersionSchemas:
    definitions = _Definitions()
    envelope = schema_of(payloads_v2.WebhookEnvelope)
    events: dict[str, EventSchema] = {}
    for event_type in V2_TYPES:
        data = payloads_v2.DATA.get(event_type)
        source = Source.ENVELOPE if data is None else Source.DOCUMENTS
        of_data = {"type": "object"} if data is None else definitions.added_data(data, event_type)
        events[event_type] = _event(event_type, source, _with_data(envelope, of_data))
    return VersionSchemas(V2, events, definitions.found)


def _event(event_type: str, source: Source, schema: Json, **consts: Json) -> EventSchema:
    """Return the schema of an event, whose type and version are known."""
    consts["event_type"] = {"const": event_type}
    properties = {
        name: {"type": "string", **consts[name]} if name in consts else value
        for name, value in schema["properties"].items()
    }
    for name in consts:
        if text := schema["properties"][name].get("description"):
            properties[name]["description"] = text.partition(" **Note:**")[0]
    return EventSchema(
        event_type,
        camel_case(event_type),
        source,
        {"type": "object", "properties": properties, "required": list(schema["required"])},
    )


def _with_data(envelope: Json, data: Json) -> Json:
    return {**envelope, "properties": {**envelope["properties"], "data": data}}


def _required(model: type[BaseModel] | None) -> type[BaseModel]:
    if model is None:
        raise LookupError("the SDK has no model of message.sent")
    return model


def _definitions_alone(event_type: str) -> Json:
    """Return the definitions of an event in which nothing tells the event."""
    model = model_of(event_type)
    made: Json = {} if model is None else schema_of(model)["$defs"]
    return {name: {key: value for key, value in each.items() if key != MODEL} for name, each in made.items()}


class _Definitions:
    """The definitions of a version, by their names in the document."""

    def __init__(self, found: dict[str, Json] | None = None) -> None:
        self.found = {} if found is None else found

    def added_data(self, model: type[BaseModel], event_type: str) -> Json:
        """Add the model of an event's `data`; return the reference to it."""
        made = schema_of(model)
        own = {key: value for key, value in made.items() if key != "$defs"}
        whole = {"$ref": f"{DEFS}{model.__name__}", "$defs": {**made.get("$defs", {}), model.__name__: own}}
        return self.added(whole, camel_case(event_type), is_shared=False)

    def make_optional(self, reference: Json, field: str) -> None:
        """Make a field of the definition that is referred to optional."""
        name = reference["$ref"].removeprefix(DEFS)
        required = [each for each in self.found[name]["required"] if each != field]
        self.found[name] = {**self.found[name], "required": required}

    def added(self, schema: Json, prefix: str, *, is_shared: bool) -> Json:
        """Add the definitions of a schema; return it without them, and with references to them.

        Classes of the event's own module get its `prefix`, in place of their `Data` if other events share them.
        """
        names = {name: self._name(each, prefix, is_shared=is_shared) for name, each in schema["$defs"].items()}
        rename = _renaming(names)
        for name, each in schema["$defs"].items():
            made = mapped({key: value for key, value in each.items() if key != MODEL}, rename)
            if self.found.setdefault(names[name], made) != made:
                raise LookupError(f"two different classes of the SDK have the name {names[name]}")
        rest = {key: value for key, value in schema.items() if key not in {"$defs", MODEL}}
        found: Json = mapped(rest, rename)
        return found

    @staticmethod
    def _name(schema: Json, prefix: str, *, is_shared: bool) -> str:
        module, name = schema.get(MODEL, ("", ""))
        if not module.endswith("_webhook_event"):
            return str(name)
        return f"{prefix}{name.removeprefix('Data') if is_shared else name}"


def _renaming(names: dict[str, str]) -> Callable[[Json], Json]:
    def rename(schema: Json) -> Json:
        if "$ref" in schema:
            return {**schema, "$ref": DEFS + names[schema["$ref"].removeprefix(DEFS)]}
        return schema

    return rename


def references(schema: Json) -> set[str]:
    """Return the names of the definitions to which a schema refers itself."""
    found: set[str] = set()

    def note(each: Json) -> Json:
        if "$ref" in each:
            found.add(each["$ref"].removeprefix(DEFS))
        return each

    mapped(schema, note)
    return found


def needed(schema: Json, definitions: dict[str, Json]) -> dict[str, Json]:
    """Return the definitions that a schema needs, also through others."""
    names: set[str] = set()
    new = references(schema)
    while new:
        names |= new
        new = {name for each in new for name in references(definitions[each])} - names
    return {name: definitions[name] for name in sorted(names)}


def _used(events: dict[str, EventSchema], definitions: dict[str, Json]) -> dict[str, Json]:
    """Return the definitions that some event needs."""
    return needed({"anyOf": [event.schema for event in events.values()]}, definitions)
