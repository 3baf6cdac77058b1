"""Schemas of what is around a body: the fields of a stream's entry, of a dead letter, and the headers of a push.

Names come from the functions that write them, called with an event that has everything and with one that has as little
as possible: a name is required if both have it. A name without a text here is an error, and a text without a name too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event import Event, Freshness, PayloadFields
from relay.core.secret import SigningSecret, new_secret
from relay.linq.payloads.translation.translate import SHAPES, UNTRANSLATED
from relay.linq.signatures import standard, v3_legacy
from relay.store.gaps.backfilled import SOURCE
from relay.store.topics.pull.dead_letters import MAX_DELIVERIES, REJECTED
from relay.store.topics.push_headers import SHADOW_OF, attempt_headers, signature_headers
from relay.store.topics.record import Record, fields_of, mark_source
from relay.web.api.schemas.events import V2, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.web.api.schemas.generator import Json

_LINE = {"type": "string", "examples": ["+16465550123"]}
_MS = {"type": "string", "pattern": "^[0-9]+$"}

_ENTRY: dict[str, Json] = {
    "id": {"description": "Linq's id of the event: handle each once."},
    "type": {"description": "The type of the event.", "examples": ["message.received"]},
    "line": {**_LINE, "description": "The number of yours that the event belongs to, in E.164; empty if unknown."},
    "chat": {"description": "Linq's id of the chat; empty if unknown."},
    "at": {**_MS, "description": "When the relay accepted it, Unix milliseconds."},
    "version": {"description": "The form of the payload.", "examples": list(VERSIONS)},
    "body": {
        "description": "The body as Linq signed it, byte for byte; its schema is that of `version` and `type`.",
        "contentMediaType": "application/json",
    },
    "message": {"description": "Linq's id of the message."},
    "direction": {"enum": ["inbound", "outbound"], "description": "`outbound` for what your company sent."},
    "service": {"description": "The service of the message.", "examples": ["iMessage", "RCS", "SMS"]},
    "group": {"enum": ["0", "1"], "description": "`1` in a group chat."},
    "created": {"description": "When Linq created it, as Linq wrote it."},
    "trace": {"description": "Linq's trace id."},
    "freshness": {
        "enum": [Freshness.HISTORY.value],
        "description": "Only there if Linq recovered the event later: it is not live.",
    },
    "webhook_id": {"description": "The `webhook-id` of Linq's request, if it is not the id of the event."},
    "via": {
        "description": "The proof of the line, the generation of the secret, and the address of the sender.",
        "examples": ["url 1 203.0.113.7"],
    },
    "source": {
        "enum": [SOURCE],
        "description": "Only there if the relay made the event of a message at Linq: Linq did not sign it.",
    },
}

_LETTER: dict[str, Json] = {
    "dead_at": {**_MS, "description": "When it became a dead letter, Unix milliseconds."},
    "dead_reason": {
        "description": f"`{MAX_DELIVERIES}`, or `{REJECTED}` by the handler.",
        "examples": [MAX_DELIVERIES, REJECTED],
    },
    "dead_error": {"description": "The error of the handler, at most 500 characters; may be empty."},
    "dead_entry": {"description": "The id of the event's entry in the topic."},
    "dead_deliveries": {"pattern": "^[0-9]+$", "description": "The number of times that the group got the event."},
    "dead_member": {"description": "The member of the group that had it last."},
}
"""All are there."""

_HEADERS: dict[str, Json] = {
    standard.ID: {"description": "Almost always Linq's id of the event; the same in each attempt."},
    standard.TIMESTAMP: {**_MS, "description": "When this attempt was signed, Unix seconds."},
    standard.SIGNATURE: {
        "description": "`v1,` and the base64 of an HMAC-SHA256 over `{id}.{timestamp}.{body}`; during a rotation two of"
        " them, with a space between. One must be valid (Standard Webhooks).",
    },
    v3_legacy.EVENT: {"description": "The type of the event.", "examples": ["message.received"]},
    v3_legacy.SUBSCRIPTION_ID: {"description": "The name of the push subscription."},
    v3_legacy.TIMESTAMP: {**_MS, "description": "Linq's older family, not for v2: as webhook-timestamp."},
    v3_legacy.SIGNATURE: {
        "description": "Linq's older family: hexadecimal HMAC-SHA256 over `{timestamp}.{body}`; of a v2 event `sha256=`"
        " and that over the body alone.",
    },
    "Relay-Topic": {"description": "The name of the topic."},
    "Relay-Attempt": {"pattern": "^[1-9][0-9]*$", "description": "The number of the attempt, from 1."},
    "Relay-Event-Id": {"description": "Linq's id of the event: handle each once."},
    "Relay-Line": {**_LINE, "description": "The number of yours that the event belongs to, if it is known."},
    "Relay-Freshness": {
        "enum": [Freshness.HISTORY.value],
        "description": "Only there if Linq recovered the event later: it is not live.",
    },
    "Relay-Shape": {
        "enum": [*SHAPES, UNTRANSLATED],
        "description": "Only there for a subscription with `shape`: the version in which the relay translated the body,"
        " which is not what Linq signed; `untranslated` if it could not and the body is as Linq sent it.",
    },
    "Relay-Source": {
        "enum": [SOURCE],
        "description": "Only there if the relay made the event of a message at Linq: Linq did not sign it.",
    },
    "Relay-Replay": {"enum": ["true"], "description": "Only there if an operator sent the event again."},
    "Relay-Test": {"enum": ["true"], "description": "Only there in a test: the event did not happen."},
    SHADOW_OF: {
        "description": "Only there for a shadow: the subscription that gets the event too. Do nothing that others see."
    },
    "Content-Type": {"enum": ["application/json"]},
    "User-Agent": {"examples": ["linq-relay/1.2.3"]},
    "traceparent": {"description": "The W3C trace context, if the relay traces."},
}
_OF_THE_TRANSPORT = {
    v3_legacy.SUBSCRIPTION_ID: True,
    "Content-Type": True,
    "User-Agent": True,
    "traceparent": False,
    SHADOW_OF: False,
}
"""Headers that `workers.transport` adds, and whether they are always there."""

_BODY = b"{}"
_FULL = Event(
    id="1",
    type="message.received",
    version=V2,
    line="+16465550123",
    fields=PayloadFields("+16465550123", "1", "1", "inbound", "iMessage", is_group=True, reconciled_at="1"),
    created_at="1",
    trace_id="1",
)
_SPARSE = Event(id="1", type="message.received", version=VERSIONS[0], line=None, fields=PayloadFields())


def entry_schema() -> Json:
    """Return the schema of the fields of an entry in a topic's stream."""
    fields = fields_of(_FULL, 1, "2", _BODY, b"url 1 -")
    mark_source(fields, SOURCE.encode())
    full = fields[::2]
    sparse = fields_of(_SPARSE, 1, "1", _BODY)[::2]
    return _texts(_ENTRY, map(str, full), map(str, sparse))


def letter_schema() -> Json:
    """Return the schema of the fields of a dead letter of a pull group: those of the event's entry, and `dead_*`."""
    entry = entry_schema()
    return {
        **entry,
        "properties": entry["properties"] | {name: {"type": "string", **more} for name, more in _LETTER.items()},
        "required": [*entry["required"], *_LETTER],
    }


def headers_schema() -> Json:
    """Return the schema of the headers of a push."""
    full, sparse = _record(Freshness.HISTORY, V2, "+1"), _record(Freshness.LIVE, VERSIONS[0], None)
    secrets = [SigningSecret(new_secret()), SigningSecret(new_secret())]
    always = [
        *attempt_headers(sparse, "", 1),
        *(set(signature_headers(secrets, sparse, 1)) & set(signature_headers(secrets, full, 1))),
        *(name for name, is_always in _OF_THE_TRANSPORT.items() if is_always),
    ]
    names = [
        *attempt_headers(full, "", 1, is_replay=True, shape=UNTRANSLATED),
        *attempt_headers(full, "", 1, is_replay=True, is_test=True),
        *signature_headers(secrets, sparse, 1),
        *signature_headers(secrets, full, 1),
        *_OF_THE_TRANSPORT,
    ]
    return _texts(_HEADERS, names, always)


def _record(freshness: Freshness, version: str, line: str | None) -> Record:
    record = Record("0-1", "1", "message.received", line, None, 1, version, _BODY, "1", freshness=freshness)
    return record._replace(source=SOURCE) if freshness is Freshness.HISTORY else record


def _texts(described: Mapping[str, Json], names: Iterable[str], always: Iterable[str]) -> Json:
    """Return the schema of an object of texts.

    Raises:
        LookupError: `described` has other names.
    """
    found = set(names)
    if different := found ^ set(described):
        raise LookupError(f"described in relay/web/api/schemas/fields.py and written differ: {sorted(different)}")
    is_always = set(always)
    return {
        "type": "object",
        "properties": {name: {"type": "string", **more} for name, more in described.items()},
        "required": [name for name in described if name in is_always],
        "additionalProperties": {"type": "string"},
    }
