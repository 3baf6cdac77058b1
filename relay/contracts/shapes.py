"""Shapes: the keys and types of payloads, merged over many, and the differences between two of them.

A shape has the kinds of value at each place: of strings also their form (`uuid`, `time`), since a chat that is a UUID
today and a text tomorrow has changed. Where people write (`value`, `text`), a string is a text whatever it looks like.
Numbers are of one kind, and so are the handles of people, which are phone numbers or e-mail addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from relay.contracts.redaction import ANY_KEY, keys_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OBJECT, LIST, NULL, ABSENT = "object", "list", "null", "absent"

_OF_PEOPLE = {
    *("value", "text", "body", "subject", "title", "subtitle", "summary", "description", "message", "reason", "label"),
    *("name", "display_name", "first_name", "last_name", "full_name", "nickname", "company", "location", "caption"),
    *("new_value", "old_value", "previous_value", "custom_emoji", ANY_KEY),
}
"""Keys of strings that people write, or that can be anything."""
_SAME = {"email": "handle", "e164": "handle", "empty": "text", "hex": "text"}
_TOKEN = re.compile(r"<([a-z0-9]+)(?: [a-z0-9]+)?>")
_MAX_DEPTH = 20


@dataclass(slots=True)
class Shape:
    """The kinds of value at a place, and what is below it."""

    kinds: set[str] = field(default_factory=set)
    keys: dict[str, Shape] = field(default_factory=dict)
    items: Shape | None = None

    def merge(self, other: Shape) -> None:
        """Add what occurs in `other`; a key that only some objects have becomes optional."""
        both_objects = OBJECT in self.kinds and OBJECT in other.kinds
        for name in {*self.keys, *other.keys}:
            mine = self.keys.get(name)
            theirs = other.keys.get(name)
            if mine is None:
                mine = self.keys[name] = Shape({ABSENT} if both_objects else set())
            if theirs is not None:
                mine.merge(theirs)
            elif both_objects:
                mine.kinds.add(ABSENT)
        self.kinds |= other.kinds
        if other.items is not None:
            self.items = self.items or Shape()
            self.items.merge(other.items)

    def places(self, path: str = "") -> Iterator[tuple[str, frozenset[str]]]:
        """Yield each place, such as `data.parts[].type`, with its kinds; a parent before its children."""
        if path:
            yield path, frozenset(self.kinds)
        for name in sorted(self.keys):
            yield from self.keys[name].places(f"{path}.{name}" if path else name)
        if self.items is not None:
            yield from self.items.places(f"{path}[]")


class Difference(NamedTuple):
    """A difference at a place."""

    place: str
    kind: Literal["added", "removed", "changed"]
    before: tuple[str, ...]
    now: tuple[str, ...]
    """The kinds; of a removed key empty, or with `absent` if only some payloads lack it."""

    def __str__(self) -> str:
        before, now = (" or ".join(kinds) or "nothing" for kinds in (self.before, self.now))
        if self.kind == "added":
            return f"{self.place}: added, {now}"
        if self.kind == "removed":
            return f"{self.place}: {'missing in some' if self.now else 'removed'}, was {before}"
        return f"{self.place}: was {before}, is {now}"


def shape_of(value: Any, key: str = "", depth: int = 0) -> Shape:
    """Return the shape of a payload that was parsed from JSON, or of one that was redacted to kinds."""
    if depth > _MAX_DEPTH:
        return Shape({"text"})
    if isinstance(value, dict):
        shape = Shape({OBJECT})
        for name, each in keys_of(value, key):
            found = shape_of(each, name, depth + 1)
            if name in shape.keys:
                shape.keys[name].merge(found)
            else:
                shape.keys[name] = found
        return shape
    if isinstance(value, list):
        return Shape({LIST}, items=merged(shape_of(each, key, depth + 1) for each in value))
    return Shape({_kind(value, key)})


def merged(shapes: Iterable[Shape]) -> Shape | None:
    """Return what occurs in any of `shapes`; None if there are none."""
    found: Shape | None = None
    for shape in shapes:
        found = found or Shape()
        found.merge(shape)
    return found


def differences(before: Shape, now: Shape) -> list[Difference]:
    """Return what changed, by place. What was optional or null before may be missing or null now."""
    old, new = dict(before.places()), dict(now.places())
    found: list[Difference] = []
    for place in sorted({*old, *new}):
        if any(_is_below(place, other.place) for other in found if ABSENT not in other.now):
            continue
        was, are = old.get(place), new.get(place)
        if was is None:
            found.append(Difference(place, "added", (), _shown(are or frozenset())))
        elif are is None:
            if ABSENT not in was and parent_occurs(place, new):
                found.append(Difference(place, "removed", _shown(was), ()))
        elif ABSENT in are and ABSENT not in was:
            found.append(Difference(place, "removed", _shown(was), _shown(are)))
        elif not _fits(was - {ABSENT}, are - {ABSENT}):
            found.append(Difference(place, "changed", _shown(was), _shown(are)))
    return found


def _fits(was: frozenset[str], are: frozenset[str]) -> bool:
    """Return True if values like those before still occur."""
    if are <= {NULL}:
        return NULL in was or not are or was <= {NULL}
    return not was - {NULL} or bool((was & are) - {NULL})


def parent_occurs(place: str, places: dict[str, frozenset[str]]) -> bool:
    """Return True if what `place` is in occurs with what it could hold: without, its absence says nothing."""
    if place.endswith("[]"):
        return False  # an empty list
    parent, dot, _ = place.rpartition(".")
    return not dot or OBJECT in places.get(parent, ())


def _is_below(place: str, other: str) -> bool:
    return place.startswith((f"{other}.", f"{other}["))


def _shown(kinds: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(kinds))


def _kind(value: Any, key: str) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    kind = token[1] if (token := _TOKEN.fullmatch(value)) else kind_of(value)
    if kind in {"integer", "number"}:
        return "number"
    return "text" if key in _OF_PEOPLE else _SAME.get(kind, kind)
