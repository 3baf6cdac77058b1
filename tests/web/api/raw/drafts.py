"""Drafts of requests: a valid one to an operation of the API or a view of the page, then changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from relay.web.api.openapi import document_text
from relay.web.api.operations import OPERATIONS
from relay.web.pages.shell.security import FORM_TOKEN, form_token
from relay.web.pages.views import ROUTES
from tests.web.api.raw import nasty
from tests.web.api.test_isolation import REQUIRED, SPECIAL
from tests.web.api.world import BLUE, GONE, RED

if TYPE_CHECKING:
    import random

    from relay.web.api.operation import Operation
    from tests.web.api.world import World

API = "/api/v1"
_VALUES: dict[str, tuple[Any, ...]] = {
    "why": ("a test",),
    "limit": (1, 3, 500),
    "cursor": ("MS0xIA", "MTc4OTM3NzMwMjQxNy0wIA", "cmVkLWhvb2s"),
    "since": ("1h", "7d", "2026-09-14T09:15:00Z"),
    "until": ("1s", "2126-09-14T09:15:00Z"),
    "at": ("1h",),
    "entry": ("1789377302417-0",),
    "line": ("+16465550101", "+16465550102"),
    "type": ("message.received", "message.*", "*"),
    "wait": ("0s",),
    "start": ("start", "end"),
    "member": ("one", "two"),
    "visibility": ("60s", "1s"),
    "ack": ("1-0.1", "1-0_2-0.1"),
    "rate": (1.0, 100.0),
    "secret": ("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",),
    "overlap": ("1h", "0s"),
    "lifetime": ("1h", "90d", None),
    "id": ("1-1",),
    "action": ("replay", "drop", "retry"),
    "form_token": ("",),
}
_KEPT = {"wait"}
"""Parameters that always have their value: without it an answer takes a while."""
_RARE = {"export_audit": 0.1}
_NAMED = {
    "topics": ("topic", "event"),
    "dead": ("subscription", "letter"),
    "groups": ("group", "event"),
    "replays": ("topic", "replay"),
    "quarantine": ("topic", "entry"),
    "teams": ("team", "token"),
    "tokens": ("team", "token"),
}
"""The ids that are `{name}` and `{id}` in the paths of the page, by their first part; others are a subscription's."""
_FORM_FIELD = re.compile(r'<(?:input|select|textarea|button)[^>]*? name="([\w.]+)"')
_REFUSED = frozenset({400, 401, 403, 404, 405, 413, 415, 422, 428, 429})


@dataclass(slots=True)
class Draft:
    """A request, and what may be answered."""

    method: str
    path: str
    token: str
    """The kind of the token."""
    query: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    operation: Operation | None = None
    """The operation that answers; None if that is not sure."""
    statuses: frozenset[int] = _REFUSED | {200, 201, 204, 303, 304}
    """The statuses that may be answered."""
    is_page: bool = False
    is_forged: bool = False
    """True if a form lacks the token of its browser: it must be refused."""
    is_framed: bool = True
    """False if the request is not whole, or no HTTP: the server may close the connection without an answer."""

    def text(self) -> bytes:
        """Return the request as it is sent."""
        query = "?" + urlencode(self.query, doseq=True, errors="replace") if self.query else ""
        head = [f"{self.method} {self.path}{query} HTTP/1.1"]
        names = {name.lower() for name, _ in self.headers}
        if "host" not in names:
            head.append("Host: relay.test")
        if "content-length" not in names and (self.body or self.method in {"POST", "PATCH", "PUT"}):
            head.append(f"Content-Length: {len(self.body)}")
        head += (f"{name}: {text}" for name, text in self.headers)
        return "\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + self.body


class Drafts:
    """A source of drafts for one world; `kinds` are the tokens in use."""

    def __init__(self, chance: random.Random, world: World, kinds: tuple[str, ...]) -> None:
        self._chance = chance
        self._world = world
        self._kinds = kinds
        self.sessions: dict[str, str] = {}
        """The cookie of each kind of token that has signed in to the page."""

    def draft(self) -> Draft:
        """Return a request."""
        chance = self._chance
        made = self._view() if self.sessions and chance.random() < 0.25 else self._call()
        if chance.random() < 0.6:
            for _ in range(chance.choice((1, 1, 2, 3))):
                chance.choice(_MUTATIONS)(chance, made)
        if any("\r" in text or "\n" in text or "\0" in text for _, text in made.headers):
            made.is_framed = False
        if len(made.path) + sum(len(str(each)) for pair in made.query for each in pair) > 2500:
            made.is_framed = False  # it may be beyond aiohttp's limit of a line, once it is encoded
        return made

    def _ids(self) -> dict[str, Any]:
        return self._world.ids[self._chance.choice((RED, RED, BLUE, GONE))]

    def _call(self) -> Draft:
        chance, ids = self._chance, self._ids()
        operation = chance.choice(OPERATIONS)
        while chance.random() > _RARE.get(operation.id, 1):
            operation = chance.choice(OPERATIONS)
        parts = _SCHEMAS.parts(operation)
        path = operation.path
        for name in parts["path"]:
            path = path.replace(f"{{{name}}}", quote(str(ids.get(name, "1-1")), safe=""))
        token = chance.choice(self._kinds)
        made = Draft(operation.method, API + path, token, operation=operation)
        made.statuses = operation.errors - {500, 503} | {operation.status}
        made.headers.append(("Authorization", f"Bearer {self._world.tokens[token]}"))
        for name, (schema, is_required) in parts["query"].items():
            if is_required or name in _KEPT or chance.random() < 0.3:
                made.query.append((name, self._valid(name, schema, ids)))
        if "body" in operation.inputs:
            fields = {
                name: self._valid(name, schema, ids)
                for name, (schema, is_required) in parts["body"].items()
                if is_required or name in ids or chance.random() < 0.3
            } | SPECIAL.get(operation.id, {})
            if chance.random() < 0.35 and fields:
                fields[chance.choice([*fields, "extra"])] = nasty.value(chance)
            if chance.random() < 0.1 and fields:
                del fields[chance.choice(list(fields))]
            made.body = json.dumps(fields).encode()
            made.headers.append(("Content-Type", "application/json"))
        if chance.random() < 0.7 and operation.versions.value == "checked":
            made.headers.append(("If-Match", chance.choice(("*", '"1"', '"2"'))))
        return made

    def _view(self) -> Draft:
        chance, ids = self._chance, self._ids()
        method, path, _ = chance.choice(ROUTES)
        token = chance.choice(list(self.sessions))
        cookie = self.sessions[token]
        name, number = _NAMED.get(path.split("/")[1], ("subscription", "event"))
        named = {**ids, "name": ids[name], "id": ids.get(number, "1-1")}
        path = re.sub(r"\{(\w+)\}", lambda found: quote(str(named[found[1]]), safe=""), path)
        made = Draft(method, path, token, is_page=True, headers=[("Cookie", f"relay_session={cookie}")])
        made.statuses = _REFUSED | {200, 204, 303, 409, 502}
        names = chance.choice(_FORMS)
        fields = [(name, self._valid(name, {}, {**ids, **named})) for name in names if chance.random() < 0.8]
        fields = [(name, nasty.value(chance) if chance.random() < 0.2 else value) for name, value in fields]
        if method == "GET":
            made.query = fields[:8]
            return made
        made.is_forged = chance.random() < 0.2
        forged = chance.choice((None, "", "0" * 64, "é", form_token("another")))
        given = forged if made.is_forged else form_token(cookie)
        fields = [(name, value) for name, value in fields if name != FORM_TOKEN]
        fields += [(FORM_TOKEN, given)] if given is not None else []
        if not made.is_forged or chance.random() < 0.5:
            made.headers.append(("Origin", "http://relay.test"))
        made.headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        made.body = urlencode(fields, doseq=True, errors="replace").encode()
        return made

    def _valid(self, name: str, schema: dict[str, Any], ids: dict[str, Any]) -> Any:
        chance = self._chance
        if name in ids or name in REQUIRED:
            return ids.get(name, REQUIRED.get(name))
        if name in _VALUES:
            return chance.choice(_VALUES[name])
        schema = _SCHEMAS.resolved(chance.choice(schema["anyOf"]) if "anyOf" in schema else schema)
        if known := schema.get("enum") or schema.get("examples"):
            return chance.choice(known)
        kind = schema.get("type")
        if kind in {"array", "object"}:
            return [self._valid("", schema.get("items", {}), ids)] if kind == "array" else {}
        if kind in {"integer", "number"}:
            return schema.get("default", chance.choice((1, 10)))
        return chance.random() < 0.5 if kind == "boolean" else f"text-{chance.randrange(20)}"


class _Schemas:
    """The parameters and fields of each operation, as the document has them."""

    @cached_property
    def _document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(document_text(OPERATIONS))
        return found

    @cached_property
    def _parts(self) -> dict[str, dict[str, dict[str, tuple[dict[str, Any], bool]]]]:
        return {operation.id: self._read(operation) for operation in OPERATIONS}

    def parts(self, operation: Operation) -> dict[str, dict[str, tuple[dict[str, Any], bool]]]:
        """Return the schemas of path, query and body by name, each with True if it is required."""
        return self._parts[operation.id]

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema, or the one to which it refers."""
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _read(self, operation: Operation) -> dict[str, dict[str, tuple[dict[str, Any], bool]]]:
        item = self._document["paths"][operation.path]
        described = item[operation.method.lower()]
        parts: dict[str, dict[str, tuple[dict[str, Any], bool]]] = {"path": {}, "query": {}, "body": {}, "header": {}}
        for each in (*item.get("parameters", ()), *described.get("parameters", ())):
            parameter = each
            if "$ref" in each:
                parameter = self._document["components"]["parameters"][each["$ref"].rpartition("/")[2]]
            parts[parameter["in"]][parameter["name"]] = (parameter.get("schema", {}), parameter.get("required", False))
        if "requestBody" in described:
            schema = self.resolved(next(iter(described["requestBody"]["content"].values()))["schema"])
            required = set(schema.get("required", ()))
            parts["body"] = {name: (each, name in required) for name, each in schema.get("properties", {}).items()}
        return parts


_SCHEMAS = _Schemas()
_FORMS = [
    names
    for template in sorted(files("relay.web.pages").joinpath("templates").iterdir(), key=str)
    if (names := list(dict.fromkeys(_FORM_FIELD.findall(template.read_text(encoding="utf-8")))))
]


def _change_query(chance: random.Random, made: Draft) -> None:
    if made.query and chance.random() < 0.8:
        at = chance.randrange(len(made.query))
        name, _ = made.query[at]
        if name not in _KEPT:
            made.query[at] = (name, nasty.value(chance))
    else:
        made.query.append((chance.choice(("extra", "limit", "cursor", "\0", "limit[]", "")), nasty.value(chance)))


def _repeat_query(chance: random.Random, made: Draft) -> None:
    if made.query:
        made.query.append(chance.choice(made.query))


def _change_path(chance: random.Random, made: Draft) -> None:
    made.operation = None
    made.is_forged = False
    made.statuses = _REFUSED | {200, 201, 204, 303, 409, 412, 502}
    parts = made.path.split("/")
    text = chance.choice(nasty.TEXTS)
    parts[chance.randrange(1, len(parts))] = chance.choice(
        (quote(text, safe="", errors="replace"), quote(text, errors="replace"), "", "%", "%zz", "%ff", "x" * 3000)
    )
    made.path = "/".join(parts)


def _change_method(chance: random.Random, made: Draft) -> None:
    made.operation = None
    made.is_forged = False
    made.method = chance.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"))
    made.statuses = _REFUSED | {200, 201, 204, 303, 409, 412, 502}


def _change_body(chance: random.Random, made: Draft) -> None:
    if not made.body or (made.is_page and chance.random() < 0.5):
        return
    made.body = nasty.document(chance, made.body)
    made.is_forged = made.is_forged and not made.is_page


_FRAMING = {"Content-Length", "Transfer-Encoding", "Bad Name", "Upgrade", "X-Long", "Content-Encoding", "Host"}


def _add_header(chance: random.Random, made: Draft) -> None:
    name, text = nasty.headers(chance)
    if name in _FRAMING or (name == "Expect" and text != "100-continue") or (name, text) == ("Connection", "upgrade"):
        made.is_framed = False
    if name == "Cookie" and made.is_page:
        return
    kept = [each for each in made.headers if each[0] != name or chance.random() < 0.2]
    made.is_framed = made.is_framed and all(each[0] != name for each in kept)  # aiohttp refuses some that are repeated
    made.headers = kept
    made.headers.append((name, text))


def _change_token(chance: random.Random, made: Draft) -> None:
    if made.is_page:
        return
    made.headers = [each for each in made.headers if each[0] != "Authorization"]
    made.headers.append(("Authorization", chance.choice(nasty.AUTHORIZATIONS)))


def _cut(chance: random.Random, made: Draft) -> None:
    if chance.random() < 0.3:
        made.is_framed = False
        made.headers.append(("Content-Length", str(len(made.body) + chance.choice((-1, 1, 50)))))


_MUTATIONS = (
    *(_change_query, _change_query, _change_body, _change_body, _add_header, _add_header),
    *(_repeat_query, _change_path, _change_method, _change_token, _cut),
)
