"""The files of the schemas, as `relay schemas` writes them: each can be used alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay.sandbox.payloads.versions import NEW
from relay.web.api.openapi import document_text
from relay.web.api.operations import OPERATIONS
from relay.web.api.schemas.asyncapi import asyncapi_text
from relay.web.api.schemas.events import Source, needed, schemas_by_version
from relay.web.api.schemas.fields import entry_schema, headers_schema, letter_schema
from relay.web.api.schemas.generator import mapped, tidied
from relay.web.api.schemas.sdk import sdk_version

if TYPE_CHECKING:
    from relay.web.api.schemas.events import EventSchema, VersionSchemas
    from relay.web.api.schemas.generator import Json

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_OPENAPI_SCHEMAS = "#/components/schemas/"
_SOURCES = {
    Source.SDK: "From the models of Linq's SDK, {sdk}.",
    Source.DOCUMENTS: "From Linq's documents: its SDK, {sdk}, has no model of this payload.",
    Source.ENVELOPE: "Open: Linq's SDK, {sdk}, and its documents do not describe this payload; `data` is any object.",
}
_FIELDS = {
    "stream-entry.json": ("StreamEntry", "Fields of an entry in a topic's stream at Redis, all texts.", entry_schema),
    "dead-letter.json": ("DeadLetter", "Fields of a dead letter of a pull group at Redis, all texts.", letter_schema),
    "push-headers.json": ("PushHeaders", "Headers of a pushed event, beside those of HTTP itself.", headers_schema),
}


def schema_files() -> dict[str, str]:
    """Return the text of each file by its path; takes some seconds."""
    versions = schemas_by_version()
    made: dict[str, Json] = {name: _whole(title, text, make()) for name, (title, text, make) in _FIELDS.items()}
    made["pulled-event.json"] = _whole(
        "PulledEvent", "An event as a pull over HTTP has it.", _of_the_api("PulledEvent")
    )
    made |= {
        _path(version, event): event_document(version, event)
        for version in versions.values()
        for event in version.events.values()
    }
    made |= {f"events/{version.version}.json": bundle(version) for version in versions.values()}
    made["index.json"] = {
        "sdk": sdk_version(),
        "newest": NEW,
        "fields": sorted([*_FIELDS, "pulled-event.json"]),
        "events": {
            version.version: {
                event.type: {"path": _path(version, event), "name": event.name, "source": event.source.value}
                for event in version.events.values()
            }
            for version in versions.values()
        },
    }
    return {"asyncapi.json": asyncapi_text()} | {name: _text(schema) for name, schema in made.items()}


def event_document(version: VersionSchemas, event: EventSchema) -> Json:
    """Return the schema of an event's body, with all definitions that it needs."""
    text = f"Body of {event.type}, version {version.version}. {_source(event)}"
    definitions = needed(event.schema, version.definitions)
    return _whole(event.name, text, event.schema) | ({"$defs": definitions} if definitions else {})


def bundle(version: VersionSchemas) -> Json:
    """Return one schema with all events of a version, each of which is also a definition."""
    events = {
        event.name: {"description": f"Body of {event.type}. {_source(event)}", **event.schema}
        for event in version.events.values()
    }
    if both := set(events) & set(version.definitions):
        raise LookupError(f"an event and a class have the same name: {sorted(both)}")
    return {
        "$schema": DIALECT,
        "title": "Event",
        "description": f"Body of any event of version {version.version}, by its event_type. SDK: {sdk_version()}.",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in events],
        "$defs": events | dict(sorted(version.definitions.items())),
    }


def _path(version: VersionSchemas, event: EventSchema) -> str:
    return f"events/{version.version}/{event.type}.json"


def _source(event: EventSchema) -> str:
    return _SOURCES[event.source].format(sdk=sdk_version())


def _whole(title: str, description: str, schema: Json) -> Json:
    return {"$schema": DIALECT, "title": title, "description": description} | {
        name: value for name, value in schema.items() if name not in {"title", "description"}
    }


def _of_the_api(name: str) -> Json:
    """Return a schema of the OpenAPI document, which refers to no other."""
    schema: Json = json.loads(document_text(OPERATIONS))["components"]["schemas"][name]
    if _OPENAPI_SCHEMAS in json.dumps(schema):
        raise LookupError(f"{name} refers to other schemas")
    made: Json = mapped(schema, tidied)
    return made


def _text(schema: Json) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
