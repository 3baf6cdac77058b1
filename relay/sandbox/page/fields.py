"""Form fields of a pydantic model, made from its JSON schema, and the values that a submitted form gives the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

_INPUTS = {"integer": "number", "number": "number", "boolean": "checkbox", "object": "textarea"}
_LONG = {"body"}
"""Texts of several lines."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form."""

    name: str
    type: str
    """JSON type of its value."""
    input: str
    """`text`, `number`, `checkbox`, `select` or `textarea`."""
    label: str
    hint: str
    is_required: bool
    default: str
    """The value that the model has without one, as a user would type it."""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def value_of(self, text: str) -> Any:
        """Return the value of a submitted text; a text of another type stays, and the model refuses it.

        Raises:
            ValueError: it is not JSON, as the field needs it.
        """
        match self.type:
            case "array":
                return [item.strip() for item in text.split(",") if item.strip()]
            case "object":
                return _parsed(text)
            case "integer" | "number" | "boolean":
                try:
                    return json.loads(text)
                except ValueError:
                    return text
            case _:
                return text


def fields_of(model: type[BaseModel], choices: Mapping[str, Sequence[str]] | None = None) -> list[Field]:
    """Return the fields of a model, without its constants; `choices` offers the values of a text."""
    schema = _schema_of(model)
    required = schema.get("required", ())
    return [
        _field(name, given, is_required=name in required, choices=tuple((choices or {}).get(name, ())))
        for name, given in schema["properties"].items()
        if "const" not in given
    ]


def values_of(fields: Sequence[Field], form: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of the fields that were filled in, and the errors of those that cannot be read."""
    values: dict[str, Any] = {}
    errors = {}
    for field in fields:
        if text := form.get(field.name, "").strip():
            try:
                values[field.name] = field.value_of(text)
            except ValueError as error:
                errors[field.name] = str(error)
    return values, errors


@cache
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model, of which the page has a dozen: making one takes milliseconds."""
    return model.model_json_schema()


def _field(name: str, given: Mapping[str, Any], *, is_required: bool, choices: tuple[str, ...]) -> Field:
    found = {**given, **next((kind for kind in given.get("anyOf", ()) if kind["type"] != "null"), {})}
    default = given.get("default")
    is_optional = default is None and not is_required
    choices = choices or tuple(map(str, found.get("enum", ())))
    if found["type"] == "boolean" and is_optional:
        choices = ("true", "false")
    return Field(
        name=name,
        type=found["type"],
        input="select" if choices else "textarea" if name in _LONG else _INPUTS.get(found["type"], "text"),
        label=name.replace("_", " ").capitalize(),
        hint=given.get("description", "").replace("`", ""),
        is_required=is_required,
        default="" if default is None else ", ".join(default) if isinstance(default, list) else str(default),
        choices=choices,
        minimum=found.get("minimum"),
        maximum=found.get("maximum"),
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
