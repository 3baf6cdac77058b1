"""The AsyncAPI 3.0 document: the ways in which a subscriber gets events, and a message for each type of event.

A message has the body as its payload. Around it are the headers of a push, or at Redis the other fields of the entry,
which the document has as headers too. Schemas that differ between versions have the version in their name.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from relay.linq.signatures import standard
from relay.sandbox.payloads.versions import NEW
from relay.store.keys import Keyspace
from relay.web.api.openapi import document_text
from relay.web.api.operations import OPERATIONS
from relay.web.api.resources.pull import receive_events
from relay.web.api.schemas.events import DEFS, schemas_by_version
from relay.web.api.schemas.fields import entry_schema, headers_schema, letter_schema
from relay.web.api.schemas.generator import mapped
from relay.web.api.schemas.sdk import sdk_version

if TYPE_CHECKING:
    from relay.web.api.schemas.events import VersionSchemas
    from relay.web.api.schemas.generator import Json

_SCHEMAS = "#/components/schemas/"
_JSON = "application/json"
_KEYS = Keyspace()
_PULL_MODELS = ("PulledEvent", "PulledBatch")

_ABOUT = (
    "What linq-relay sends: events that Linq signed, routed to topics. A subscriber reads a topic's stream at Redis,"
    " gets each event as a signed POST, or pulls over HTTP. Every way delivers at least once: handle each `id` once."
    " The document is generated from the relay's code and from Linq's SDK, {sdk}."
)
_STREAM = (
    "The stream of a topic. Each consumer group gets every event at least once (XREADGROUP, XACK); its members share"
    " them. An event that is not acknowledged is pending: another member claims it (XAUTOCLAIM, XCLAIM) when its member"
    " has been idle. First take what the consumer `relay:returned` holds: events that were handed back. Claims that"
    " come back without an entry were trimmed: acknowledge them. A group that is missing (NOGROUP) is made again at its"
    " place in the hash `{places}`, else where it is to begin. The fields of an entry other than `body` are the headers"
    " here, and `body` is the payload. The prefix `{prefix}` can be set. A relay with several shards, whose number is"
    " in the key `{shards}`, has a stream on each, with a group, places and dead letters of its own: beside the first"
    " one the prefix is `{prefix}/<n>`. On a Redis Cluster the prefix is a hash tag in braces."
)
_DEAD = (
    "The dead letters of a pull group: entries with the fields of the event and `dead_*`, written in one step with the"
    " XACK by the member that has the event, when it would be delivered more than `max_deliveries` times, or when the"
    " handler rejected it."
)
_PUSH = (
    "A POST to the url of a push subscription. An answer of 2xx acknowledges it; anything else, and no answer in time,"
    " is tried again by the subscription's schedule. Verify `webhook-signature` with the secret of the subscription,"
    " over the bytes of the body, before you parse it."
)
_HTTP = "A pull over HTTP: the operations {operations} of the OpenAPI document, at `/api/v1/openapi.json`."


@cache
def asyncapi_text() -> str:
    """Return the document as JSON; takes some seconds, the first time."""
    return json.dumps(asyncapi_document(), indent=1, ensure_ascii=False) + "\n"


def asyncapi_document() -> Json:
    """Return the document."""
    schemas = _Schemas()
    messages: dict[str, Json] = {}
    for version in schemas_by_version().values():
        messages |= _messages(version, schemas)
    messages["dead-letter"] = {
        "title": "A dead letter of a pull group",
        "contentType": _JSON,
        "headers": {"$ref": f"{_SCHEMAS}DeadLetter"},
        "payload": {"description": "The event's body, whose message is that of its `version` and `type`."},
    }
    messages["batch"] = {
        "title": "The answer to receive_events",
        "contentType": _JSON,
        "payload": {"$ref": f"{_SCHEMAS}PulledBatch"},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "linq-relay", "version": "1", "description": _ABOUT.format(sdk=sdk_version())},
        "defaultContentType": _JSON,
        "servers": _servers(),
        "channels": _channels(messages),
        "operations": _operations(),
        "components": {
            "messages": messages,
            "schemas": schemas.found | _own_schemas(),
            "securitySchemes": _security_schemes(),
        },
    }


class _Schemas:
    """The schemas of the document."""

    def __init__(self) -> None:
        self.found: dict[str, Json] = {}

    def add(self, version: VersionSchemas) -> dict[str, str]:
        """Add the schemas of a version; return the name of each event's."""
        wanted = dict(version.definitions)
        wanted |= {event.name: event.schema for event in version.events.values()}
        different = {name for name in version.definitions if self._differs(name, wanted[name])}
        different |= {event.name for event in version.events.values()} if version.version != NEW else set()

        def renamed(schema: Json) -> Json:
            if "$ref" not in schema:
                return schema
            name = schema["$ref"].removeprefix(DEFS)
            return {"$ref": _SCHEMAS + (f"{version.version}.{name}" if name in different else name)}

        names = {name: f"{version.version}.{name}" if name in different else name for name in wanted}
        for name, schema in wanted.items():
            made = mapped(schema, renamed)
            if self.found.setdefault(names[name], made) != made:
                raise LookupError(f"{names[name]}: what it refers to has another form in {version.version}")
        return {event.type: names[event.name] for event in version.events.values()}

    def _differs(self, name: str, schema: Json) -> bool:
        return name in self.found and self.found[name] != mapped(schema, _in_components)


def _in_components(schema: Json) -> Json:
    return {"$ref": _SCHEMAS + schema["$ref"].removeprefix(DEFS)} if "$ref" in schema else schema


def _messages(version: VersionSchemas, schemas: _Schemas) -> dict[str, Json]:
    names = schemas.add(version)
    return {
        f"{way}.{version.version}.{event_type}": {
            "name": event_type,
            "title": f"{event_type}, {version.version}",
            "contentType": _JSON,
            "headers": {"$ref": _SCHEMAS + headers},
            "payload": {"$ref": _SCHEMAS + name},
        }
        for way, headers in (("push", "PushHeaders"), ("stream", "StreamEntry"))
        for event_type, name in names.items()
    }


def _own_schemas() -> dict[str, Json]:
    entry = entry_schema()
    entry["properties"] = {name: schema for name, schema in entry["properties"].items() if name != "body"}
    entry["required"] = [name for name in entry["required"] if name != "body"]
    pulled = json.loads(document_text(OPERATIONS))["components"]["schemas"]
    return {
        "StreamEntry": {"description": "The fields of an entry, without `body`.", **entry},
        "DeadLetter": letter_schema(),
        "PushHeaders": headers_schema(),
        **{name: pulled[name] for name in _PULL_MODELS},
    }


def _servers() -> Json:
    return {
        "redis": {
            "host": "{host}",
            "protocol": "redis",
            "description": "The relay's Redis. A team has a user of its own: `relay acl` prints its rights.",
            "variables": {"host": {"default": "127.0.0.1:6379"}},
            "security": [{"$ref": "#/components/securitySchemes/redisUser"}],
        },
        "subscriber": {
            "host": "{host}",
            "protocol": "https",
            "description": "The server of a push subscription's url: yours.",
            "variables": {"host": {"default": "team.example.com"}},
            "security": [{"$ref": "#/components/securitySchemes/signature"}],
        },
        "api": {
            "host": "{host}",
            "pathname": "/api/v1",
            "protocol": "https",
            "description": "The relay's API, on its admin listener.",
            "variables": {"host": {"default": "127.0.0.1:8081"}},
            "security": [{"$ref": "#/components/securitySchemes/token"}],
        },
    }


def _security_schemes() -> Json:
    return {
        "redisUser": {"type": "userPassword", "description": "The user of a team at Redis."},
        "signature": {
            "type": "httpApiKey",
            "in": "header",
            "name": standard.SIGNATURE,
            "description": "The signature of Standard Webhooks, made with the subscription's secret.",
        },
        "token": {"type": "http", "scheme": "bearer", "description": "A token of `relay token create`."},
    }


def _channels(messages: dict[str, Json]) -> Json:
    def of_way(way: str) -> Json:
        return {
            name.removeprefix(way): {"$ref": f"#/components/messages/{name}"}
            for name in messages
            if name.startswith(way)
        }

    topic = {"topic": {"description": "The name of a topic, as in the set `relay:topics`."}}
    both = topic | {"group": {"description": "The name of the pull group."}}
    stream = _STREAM.format(places=_KEYS.places("{topic}"), prefix=_KEYS.prefix, shards=_KEYS.shards)
    of_groups = [each for each in OPERATIONS if each.tag is receive_events.tag and "{group}" in each.path]
    operations = ", ".join(f"`{each.id}`" for each in of_groups)
    http = _HTTP.format(operations=operations)
    return {
        "stream": _channel("redis", stream, of_way("stream."), _KEYS.topic("{topic}"), topic),
        "deadLetters": _channel("redis", _DEAD, of_way("dead-letter"), _KEYS.group_dead("{topic}", "{group}"), both),
        "push": _channel("subscriber", _PUSH, of_way("push.")),
        "pull": _channel("api", http, of_way("batch"), receive_events.path, both),
    }


def _channel(
    server: str, about: str, messages: Json, address: str | None = None, parameters: Json | None = None
) -> Json:
    made = {
        "address": address,
        "description": about,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name or "message": message for name, message in messages.items()},
    }
    return made | ({"parameters": parameters} if parameters else {})


def _operations() -> Json:
    def sends(channel: str, summary: str, **more: Json) -> Json:
        return {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary, **more}

    post = {"http": {"method": "POST", "bindingVersion": "0.3.0"}}
    get = {"http": {"method": "GET", "bindingVersion": "0.3.0"}}
    return {
        "appendToStream": sends("stream", "The relay appends each event of the topic; a subscriber reads it."),
        "pushEvent": sends("push", "The relay posts each event of the subscription's topics.", bindings=post),
        "answerPull": sends("pull", "The relay answers a request for the next events of a group.", bindings=get),
        "appendDeadLetter": {
            "action": "receive",
            "channel": {"$ref": "#/channels/deadLetters"},
            "summary": "A member of a pull group moves an event that it cannot handle there; `relay dead` lists it.",
        },
    }
