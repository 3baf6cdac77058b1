"""JSON Schemas of pydantic models: described by their attributes' docstrings, and without what only pydantic needs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from relay.config.attribute_docstrings import attribute_docstrings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

Json = dict[str, Any]

MODEL = "x-model"
"""Keyword with the module and the name of a schema's class, until it has its name in the document."""

_NULL = {"type": "null"}


class DescribingGenerator(GenerateJsonSchema):
    """Adds descriptions."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model."""
        model: type[BaseModel] = schema["cls"]
        made = super().model_schema(schema)
        texts = attribute_docstrings(model)
        for name, field in model.model_fields.items():
            if name in texts and field.description is None:
                made["properties"][field.alias or name]["description"] = texts[name]
        return made


class _Generator(DescribingGenerator):
    """Adds descriptions in one line, and the class of each schema."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model."""
        model: type[BaseModel] = schema["cls"]
        made = super().model_schema(schema)
        for described in made["properties"].values():
            if "description" in described:
                described["description"] = " ".join(described["description"].split())
        return made | {MODEL: [model.__module__, model.__name__]}


@cache
def schema_of(model: type[BaseModel]) -> Json:
    """Return the schema of a model; those of the models in it are its `$defs`, each with its class as `MODEL`."""
    made: Json = mapped(model.model_json_schema(schema_generator=_Generator), tidied)
    return made


def mapped(schema: Any, change: Callable[[Json], Json]) -> Any:
    """Return a schema in which `change` was applied to each schema in it, from the inside out."""
    if isinstance(schema, list):
        return [mapped(each, change) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for keyword in ("properties", "$defs"):
        if keyword in made:
            made[keyword] = {name: mapped(each, change) for name, each in made[keyword].items()}
    for keyword in ("items", "additionalProperties", "anyOf", "oneOf", "allOf", "propertyNames"):
        if keyword in made:
            made[keyword] = mapped(made[keyword], change)
    return change(made)


def tidied(schema: Json) -> Json:
    """Return a schema without titles, defaults of null, and the permission of more fields, which all have anyway."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}  # what it refers to is described
    made = {name: value for name, value in schema.items() if name != "title"}
    if made.get("additionalProperties") is True:
        del made["additionalProperties"]
    if made.get("default", "") is None:
        del made["default"]
    options = made.get("anyOf")
    if options and {} in options:
        del made["anyOf"]
    elif options and options[1:] == [_NULL] and set(options[0]) <= {"type", "format"}:
        del made["anyOf"]
        made = {**options[0], "type": [options[0]["type"], "null"]} | made
    return made
