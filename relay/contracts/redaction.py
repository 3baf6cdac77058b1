"""A payload without its content: every string is replaced by its kind, and every number by its type.

What stays are keys that look like Linq's, the enumerations that are Linq's own (`contracts.words`), the event's type
and version, true, false and null. `Tokens` writes the kinds themselves, such as <uuid> or <text 34>, for people;
`Values` writes values of the right form, for fixtures: a UUID, a number of the range 555-01xx that is kept for fiction.
Elements of a list that are then the same are kept once.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from relay.contracts.words import WORDS
from relay.core.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = (
    ("uuid", r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"),
    ("e164", r"\+[1-9][0-9]{6,14}"),
    ("time", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?(?:[zZ]|[+-]\d\d:?\d\d))?"),
    ("date", r"\d{4}-\d\d-\d\d"),
    ("digits", r"[0-9]+"),
    ("hex", r"[0-9a-f]{16,64}"),
    ("email", r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    ("url", r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+"),
)
_KIND = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS))
_SIZED = {"digits", "hex", "text"}
_SPACED_TIME = re.compile(r"\d{4}-\d\d-\d\d ")
_OFFSET = re.compile(r"[+-]\d\d:?\d\d$")

_KEY = re.compile(r"[a-z][a-zA-Z0-9_]{0,39}")
_KEYS_OF_OTHERS = {"metadata"}
"""Objects whose keys are chosen by customers of Linq."""
_NUMBER_IN_KEY = re.compile(r"\d{5}")
_HEADS = {
    "event_type": re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){0,4}"),
    "webhook_version": re.compile(r"\d{4}-\d\d-\d\d"),
    "api_version": re.compile(r"v\d{1,2}"),
}
"""Fields of the envelope whose value stays."""
_MAX_HEAD = 64  # characters
_MAX_DEPTH = 16

ANY_KEY = "any key"
"""The key in place of one that is not Linq's; not a key that Linq has, since it contains a space."""
_DEEPER = "deeper"


class Fill(Protocol):
    """The values in place of what is removed."""

    def text(self, kind: str, original: str, key: str) -> Any:
        """Return the value in place of a string of this kind."""

    def number(self, *, is_whole: bool) -> Any:
        """Return the value in place of a number."""


class Tokens:
    """Kinds, such as <uuid> and <text 34>, for people to read."""

    def text(self, kind: str, original: str, key: str) -> str:  # noqa: ARG002  the protocol's
        """Return the kind in angle brackets, of texts with their length."""
        return f"<{kind} {len(original)}>" if kind in _SIZED else f"<{kind}>"

    def number(self, *, is_whole: bool) -> str:
        """Return the type."""
        return "<integer>" if is_whole else "<number>"


class Kinds:
    """Kinds without lengths: payloads with the same structure become the same."""

    def text(self, kind: str, original: str, key: str) -> str:  # noqa: ARG002  the protocol's
        """Return the kind in angle brackets."""
        return f"<{kind}{_form_of(original) if kind == 'time' else ''}>"

    def number(self, *, is_whole: bool) -> str:
        """Return the type."""
        return "<integer>" if is_whole else "<number>"


class Values:
    """Values of the right form; the same one in place of each occurrence of an identifier."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def text(self, kind: str, original: str, key: str) -> str:
        """Return a value of this kind."""
        if kind == "time":
            return "2026-01-02" + _TIMES[_form_of(original)]
        if kind in _PLAIN:
            return _PLAIN[kind]
        if kind == "text":
            return f"some-{key}" if _KEY.fullmatch(key) else "some-text"
        known = [name for name in self._numbers if name[0] == kind]
        number = self._numbers.setdefault((kind, original.lower()), len(known) + 1)
        return _identifier(kind, number)

    def number(self, *, is_whole: bool) -> float:
        """Return a number."""
        return 1 if is_whole else 1.5


_TIMES = {"": "T03:04:05.678Z", " offset": "T03:04:05-06:00", " spaced": " 03:04:05 -0600"}
_PLAIN = {"date": "2026-01-02", "empty": "", "url": "https://example.com/some/path"}


def redact(payload: Any, fill: Fill) -> Any:
    """Return a payload, which was parsed from JSON, with `fill` in place of its content."""
    if not isinstance(payload, dict):
        return _redact(payload, "", fill, 0)
    heads = {
        key: payload[key]
        for key, pattern in _HEADS.items()
        if isinstance(head := payload.get(key), str) and _is_head(head, pattern)
    }
    rest = {key: value for key, value in payload.items() if key not in heads}
    return dict(sorted({**_redact(rest, "", fill, 0), **heads}.items()))


def redacted_json(body: bytes, most: int) -> str | None:
    """Return a body without its content, as JSON for people; None if it is not JSON or longer than `most`."""
    try:
        text = json.dumps(redact(parse_json(body), Tokens()), ensure_ascii=True)
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= most else None


def kind_of(text: str) -> str:
    """Return the kind of a string, such as `uuid`; `text` if it is no other."""
    if not text:
        return "empty"
    found = _KIND.fullmatch(text)
    return str(found.lastgroup) if found else "text"


def keys_of(value: dict[str, Any], parent: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of an object by key, in the order of keys; a key that is not Linq's becomes `ANY_KEY`."""
    for key in sorted(value):
        is_linqs = parent not in _KEYS_OF_OTHERS and _KEY.fullmatch(key) and not _NUMBER_IN_KEY.search(key)
        yield (key if is_linqs else ANY_KEY), value[key]


def _is_head(text: str, pattern: re.Pattern[str]) -> bool:
    return len(text) <= _MAX_HEAD and pattern.fullmatch(text) is not None and not _NUMBER_IN_KEY.search(text)


def _redact(value: Any, key: str, fill: Fill, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return fill.text("text", _DEEPER, _DEEPER)
    if isinstance(value, dict):
        return {name: _redact(each, name, fill, depth + 1) for name, each in keys_of(value, key)}
    if isinstance(value, list):
        return _redacted_list(value, key, fill, depth)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return fill.number(is_whole=isinstance(value, int))
    return value if value in WORDS.get(key, ()) else fill.text(kind_of(value), value, key)


def _redacted_list(values: list[Any], key: str, fill: Fill, depth: int) -> list[Any]:
    """Redact one element of each structure, in an order that does not depend on theirs."""
    kinds = Kinds()
    by_structure: dict[str, Any] = {}
    for value in values:
        by_structure.setdefault(json.dumps(_redact(value, key, kinds, depth + 1), sort_keys=True), value)
    return [_redact(by_structure[structure], key, fill, depth + 1) for structure in sorted(by_structure)]


def _form_of(time: str) -> str:
    if _SPACED_TIME.match(time):
        return " spaced"
    return " offset" if _OFFSET.search(time) else ""


def _identifier(kind: str, number: int) -> str:
    match kind:
        case "uuid":
            return str(uuid.uuid5(uuid.NAMESPACE_OID, f"linq-relay fixture {number}"))
        case "e164":
            return f"+1303555{100 + (number - 1) % 100:04d}"
        case "email":
            return f"person{number}@example.com"
        case "hex":
            return uuid.uuid5(uuid.NAMESPACE_OID, f"linq-relay fixture {number}").hex
        case _:
            return str(1000 + number)
