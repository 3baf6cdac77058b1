"""Errors of pydantic in plain words, the same for relay.toml, the environment, the API and the sandbox.

A message is about the value at its place, which the caller names before it. Only the words for a table and for a key
differ between the formats.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.config.fields import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Words(NamedTuple):
    """The words of a format."""

    key: str
    table: str


TOML = Words("key", "table")
JSON = Words("field", "object")
QUERY = Words("parameter", "object")

_SHOWN = 64  # characters of a value in a message
_REQUIRED_LISTS = {("topics", "events"), ("subscriptions", "secret"), ("teams", "topics")}
_QUOTED = re.compile(r"'([^']*)'")


def message_of(detail: Mapping[str, Any], words: Words = TOML) -> str:  # noqa: PLR0911  a table, one row per return
    """Translate an error of pydantic into a message in the terms of a format."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f'unknown {words.key} "{detail["loc"][-1]}"'
    if kind == "missing":
        return f'"{detail["loc"][-1]}" is missing' if detail["loc"] else "it is missing"
    if kind == "string_pattern_mismatch":
        return _form(detail, context["pattern"])
    if kind == "too_short":
        return _too_short(detail, context["min_length"], words)
    if kind == "value_error":
        return str(context["error"])
    if kind in {"model_type", "model_attributes_type", "dict_type", "mapping_type", "dataclass_type"}:
        return f"it must be {'an' if words.table[0] in 'aeiou' else 'a'} {words.table}"
    translate = _MESSAGES.get(kind)
    return str(detail["msg"]) if translate is None else translate(context)


def _form(detail: Mapping[str, Any], pattern: str) -> str:
    if "input" not in detail:
        return f"it must match {pattern}"
    shown = str(detail["input"])
    shown = shown if len(shown) <= _SHOWN + 1 else f"{shown[:_SHOWN]}…"
    if _is_team_name(detail["loc"]):
        return f'"{shown}" is not the name of a team; use letters, digits, "_" and "-", at most 64'
    if pattern == NAME:
        return f'"{shown}" is not a name; use letters, digits, ".", "_" and "-", at most 64'
    return f'"{shown}" does not match {pattern}'


def _is_team_name(path: tuple[str | int, ...]) -> bool:
    return path[-1] == "team" or (path[0] == "teams" and path[-1] == "name")


def _too_short(detail: Mapping[str, Any], least: int, words: Words) -> str:
    if least > 1:
        return f"the list must have at least {least} items"
    is_required = words is not TOML or (detail["loc"][0], detail["loc"][-1]) in _REQUIRED_LISTS
    return "the list is empty; write at least one item" + ("" if is_required else f", or remove the {words.key}")


def _choices(context: Mapping[str, Any]) -> str:
    return "it must be " + _QUOTED.sub(r'"\1"', str(context["expected"]))


def _always(text: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda _: text


def _bound(relation: str, key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda context: f"it must be {relation} {context[key]:g}"


def _characters(relation: str, key: str) -> Callable[[Mapping[str, Any]], str]:
    def translate(context: Mapping[str, Any]) -> str:
        count = context[key]
        if (relation, count) == ("at least", 1):
            return "it is empty"
        return f"it must have {relation} {count} {'character' if count == 1 else 'characters'}"

    return translate


_LIST = _always("it must be a list")
_WHOLE = _always("it must be a whole number")
_NUMBER = _always("it must be a number")
_BOOLEAN = _always("it must be true or false")
_MESSAGES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "string_type": _always("it must be a string"),
    "string_unicode": _always("it must be text in UTF-8"),
    "string_too_short": _characters("at least", "min_length"),
    "string_too_long": _characters("at most", "max_length"),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _always("the number has too many digits"),
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _always("it must be a finite number"),
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "too_long": lambda context: f"the list has more than {context['max_length']} items",
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "literal_error": _choices,
    "enum": _choices,
    "none_required": _always("it must be null"),
}
