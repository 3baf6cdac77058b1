"""Inputs: the path, the query and the body of a request, as the models of its operation.

Unknown fields are refused by name. A path that cannot be one is answered as a thing that does not exist.
"""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from relay.core.config.checks.mistakes import JSON as JSON_WORDS
from relay.core.config.checks.mistakes import QUERY, message_of
from relay.web.api.operation import JSON
from relay.web.api.problems import ApiProblem, FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web
    from pydantic_core import ErrorDetails

    from relay.web.api.operation import Operation

_NO_JSON = "json_invalid"
_MAX_ERRORS = 50  # a body of 256 KiB has room for 30,000 fields that there are not


async def read_inputs(operation: Operation, request: web.Request) -> dict[str, BaseModel]:
    """Return the models of a request; its body must have been read.

    Raises:
        ApiProblem: it has mistakes; names all of them, or is 404.
    """
    found: dict[str, BaseModel] = {}
    errors: list[FieldError] = []
    for name, model in operation.inputs.items():
        try:
            found[name] = await _read(name, model, request)
        except ValidationError as error:
            errors += _refused(name, model, error)
    if errors:
        told = "; ".join(f"{error.field}: {error.message}" for error in errors[:_MAX_ERRORS])
        more = f"; and {len(errors) - _MAX_ERRORS} more" if len(errors) > _MAX_ERRORS else ""
        raise ApiProblem(422, told + more, *errors[:_MAX_ERRORS])
    return found


def is_list(annotation: Any) -> bool:
    """Return True if a field of a query may be repeated."""
    origin = get_origin(annotation)
    if origin in {Annotated, Union, UnionType}:
        return any(map(is_list, get_args(annotation)))
    return origin in {list, tuple, set, frozenset}


async def _read(name: str, model: type[BaseModel], request: web.Request) -> BaseModel:
    if name == "path":
        return model.model_validate(dict(request.match_info))
    if name == "query":
        return model.model_validate(_query(model, request))
    if request.content_type != JSON:
        raise ApiProblem(415, f"send the body as {JSON}, not as {request.content_type}")
    return model.model_validate_json(await request.read(), strict=True)


def _query(model: type[BaseModel], request: web.Request) -> dict[str, Any]:
    """Return the parameters of the query; one that is repeated is a list."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    values: dict[str, Any] = {}
    for name in dict.fromkeys(request.query):
        given = request.query.getall(name)
        field = fields.get(name)
        if field is not None and is_list(field.annotation):
            values[name] = given
        elif len(given) > 1:
            raise ApiProblem(422, f"{name}: give it once", FieldError(field=name, message="is repeated"))
        else:
            values[name] = given[0]
    return values


def _refused(name: str, model: type[BaseModel], error: ValidationError) -> Iterator[FieldError]:
    details = error.errors(include_url=False)
    if name == "path":
        raise ApiProblem(404, "there is no such thing: " + ", ".join(str(detail["loc"][-1]) for detail in details))
    if details[0]["type"] == _NO_JSON:
        cause = str(details[0]["ctx"]["error"])
        is_empty = cause.endswith("line 1 column 0")
        raise ApiProblem(
            400, "the body is empty; send JSON, such as {}" if is_empty else f"the body is not JSON: {cause}"
        )
    known = [field.alias or key for key, field in model.model_fields.items()]
    for detail in details:
        yield FieldError(field=_place(name, detail["loc"]), message=_message(name, detail, known))


def _place(name: str, loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) or name


def _message(place: str, detail: ErrorDetails, known: list[str]) -> str:
    message = message_of(detail, QUERY if place == "query" else JSON_WORDS)
    if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
        return f"{message}; known are {', '.join(known) or 'none'}"
    return message
