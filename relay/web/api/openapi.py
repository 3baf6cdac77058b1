"""The OpenAPI 3.1 document, made from the operations and their models."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs
from openapi_pydantic import OpenAPI
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from relay.core.durations import format_duration
from relay.web.api import problems
from relay.web.api.guards import idempotency
from relay.web.api.models import DURATION_PATTERN
from relay.web.api.operation import EVENT_STREAM, JSON, Versions, shows_version
from relay.web.api.reference.meanings import MEANINGS
from relay.web.api.schemas.generator import DescribingGenerator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic.json_schema import JsonSchemaMode

    from relay.web.api.operation import Operation

REQUEST_ID = "X-Request-Id"

_SCHEMAS = "#/components/schemas/"
_BEARER = "token"
_VERSION = "1"
_PROBLEM = TypeAdapter(problems.ProblemDetails)

_DESCRIPTION = (
    "The API by which teams help themselves, and operators do what the command line does. "
    "Every request has a token in `Authorization: Bearer`. Errors are problem details (RFC 9457)."
)

_PAGE = re.compile(r"\bPage_(\w+?)_(?=\")")


_REFERENCE = re.compile(rf'"{_SCHEMAS}([^"]+)"')

_Json = dict[str, Any]
_Key = tuple[str, str]
"""The id of an operation, and a part of it."""


@cache
def document_text(operations: tuple[Operation, ...]) -> str:
    """Return the document as JSON; it takes a while, the first time."""
    made = document(operations)
    return made.model_dump_json(by_alias=True, exclude_none=True, exclude_unset=True, indent=2) + "\n"


def document(operations: Sequence[Operation]) -> OpenAPI:
    """Return the document of `operations`."""
    schemas, definitions = _schemas(operations)
    as_parameters = {
        schemas[operation.id, place]["$ref"].removeprefix(_SCHEMAS)
        for operation in operations
        for place in ("path", "query")
        if place in operation.inputs
    }
    elsewhere = _references(schema for (_, place), schema in schemas.items() if place not in {"path", "query"})
    only_parameters = as_parameters - elsewhere - _references(definitions.values())
    paths: dict[str, _Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, operations, schemas, definitions
        )
    statuses = sorted({status for operation in operations for status in operation.errors})
    return OpenAPI.model_validate(
        {
            "openapi": "3.1.0",
            "info": {"title": "linq-relay", "version": _VERSION, "description": _DESCRIPTION},
            "servers": [{"url": "/api/v1"}],
            "tags": [
                {"name": tag.name, "description": tag.description}
                for tag in dict.fromkeys(operation.tag for operation in operations)
            ],
            "paths": paths,
            "components": {
                "schemas": {name: schema for name, schema in definitions.items() if name not in only_parameters},
                "responses": {_problem_name(status): _problem(status, schemas["", "problem"]) for status in statuses},
                "securitySchemes": {
                    _BEARER: {"type": "http", "scheme": "bearer", "description": "A token of `relay token create`."}
                },
            },
            "security": [{_BEARER: []}],
        }
    )


def _schemas(operations: Sequence[Operation]) -> tuple[dict[_Key, Any], _Json]:
    """Return the schema of each part of the operations, most of them references, and the definitions of the models."""
    wanted: list[tuple[_Key, JsonSchemaMode, TypeAdapter[Any]]] = [(("", "problem"), "serialization", _PROBLEM)]
    for operation in operations:
        wanted += [((operation.id, name), "validation", TypeAdapter(model)) for name, model in operation.inputs.items()]
        if operation.result is not None:
            wanted.append(((operation.id, "result"), "serialization", operation.result))
    found, extra = TypeAdapter.json_schemas(
        wanted, ref_template=_SCHEMAS + "{model}", schema_generator=DescribingGenerator
    )
    schemas = {key: _named(schema) for (key, _), schema in found.items()}
    definitions = {name: _described(model) for name, model in _named(extra.get("$defs", {})).items()}
    used, found_now = set[str](), _references(schemas.values())
    while found_now:
        used |= found_now
        found_now = _references(definitions[name] for name in found_now) - used
    return schemas, {name: definition for name, definition in definitions.items() if name in used}


def _references(schemas: Iterable[Any]) -> set[str]:
    """Return the names of the models to which schemas refer."""
    return set(_REFERENCE.findall(to_json(list(schemas)).decode()))


def _named(schema: Any) -> Any:
    """Return a schema in which a page is named after its items: `TopicPage`."""
    return from_json(_PAGE.sub(r"\1Page", to_json(schema).decode()))


def _described(model: _Json) -> _Json:
    """Return a model all of whose fields have a description, and each default as a request would have it."""
    if "properties" not in model:
        return model or {"description": "Any JSON value."}
    fields = {name: _field(name, schema) for name, schema in model["properties"].items()}
    return {"description": "A part of a list.", **model, "properties": fields}


def _field(name: str, schema: _Json) -> _Json:
    forms = [schema, *schema.get("anyOf", ())]
    text = next((form["description"] for form in forms if "description" in form), MEANINGS.get(name))
    made = dict(schema) if text is None else {**schema, "description": " ".join(text.split())}
    if isinstance(made.get("default"), float) and any(form.get("pattern") == DURATION_PATTERN for form in forms):
        made["default"] = format_duration(made["default"])
    return made


def _operation(
    operation: Operation, operations: Sequence[Operation], schemas: dict[_Key, Any], definitions: _Json
) -> _Json:
    responses = {str(operation.status): _success(operation, schemas.get((operation.id, "result")))}
    for status in sorted(operation.errors):
        responses[str(status)] = {"$ref": f"#/components/responses/{_problem_name(status)}"}
    made: _Json = {
        "operationId": operation.id,
        "tags": [operation.tag.name],
        "summary": operation.summary,
        "description": _description(operation),
        "responses": responses,
    }
    if parameters := [*_parameters(operation, operations, schemas, definitions)]:
        made["parameters"] = parameters
    if (body := schemas.get((operation.id, "body"))) is not None:
        made["requestBody"] = {"content": {JSON: {"schema": body}}, "required": True}
    return made


def _description(operation: Operation) -> str:
    if operation.scope is None:
        needs = "Any valid token may do it."
    else:
        needs = f"Needs the scope `{operation.scope.value}`{' of an operator' if operation.is_for_operators else ''}."
    return f"{operation.description} {needs}".strip()


def _parameters(
    operation: Operation, operations: Sequence[Operation], schemas: dict[_Key, Any], definitions: _Json
) -> Iterator[_Json]:
    for place in ("path", "query"):
        if (reference := schemas.get((operation.id, place))) is None:
            continue
        model = definitions[reference["$ref"].removeprefix(_SCHEMAS)]
        for name, schema in model.get("properties", {}).items():
            is_required = name in model.get("required", ())
            yield _parameter(name, place, schema.get("description"), _without_null(schema), is_required=is_required)
    if operation.takes_idempotency_key:
        yield _parameter(
            idempotency.HEADER,
            "header",
            "A text of your choice: a repeat of the request with it, within a day, gets the same answer.",
            {"type": "string", "pattern": idempotency.PATTERN},
        )
    if operation.versions is Versions.CHECKED:
        text = f"The ETag of what is changed, which `{shows_version(operation, operations)}` shows, or `*`."
        yield _parameter(hdrs.IF_MATCH, "header", text, {"type": "string"}, is_required=True)


def _parameter(name: str, place: str, description: str | None, schema: _Json, *, is_required: bool = False) -> _Json:
    made = {"name": name, "in": place, "required": is_required, "schema": schema}
    return made if description is None else {**made, "description": description}


def _without_null(schema: _Json) -> _Json:
    """Return the schema of a parameter, which is left out rather than null."""
    rest = {name: value for name, value in schema.items() if name not in {"title", "description", "default"}}
    if schema.get("default") is not None:
        rest["default"] = schema["default"]
    some = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(some) == 1:
        del rest["anyOf"]
        return {**rest, **{name: value for name, value in some[0].items() if name != "description"}}
    return rest


def _success(operation: Operation, schema: Any) -> _Json:
    headers = {REQUEST_ID: _text_header("The id of the request.")}
    if operation.versions is not Versions.NONE:
        headers[hdrs.ETAG] = _text_header("The version, for If-Match.")
    if operation.media_type == EVENT_STREAM:
        schema = {"type": "string"}
    content = {} if schema is None else {"content": {operation.media_type: {"schema": schema}}}
    return {"description": f"{operation.summary}.", "headers": headers, **content}


def _problem_name(status: int) -> str:
    name, _ = problems.KINDS[status]
    return "".join(part.capitalize() for part in name.split("-"))


def _problem(status: int, schema: Any) -> _Json:
    headers = {REQUEST_ID: _text_header("The id of the request.")}
    if status in {429, 503}:
        headers[hdrs.RETRY_AFTER] = _text_header("Seconds to wait.")
    if status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = _text_header("The scheme: Bearer.")
    _, title = problems.KINDS[status]
    return {"description": title, "content": {problems.MEDIA_TYPE: {"schema": schema}}, "headers": headers}


def _text_header(description: str) -> _Json:
    return {"description": description, "schema": {"type": "string"}}
