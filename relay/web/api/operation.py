"""Operations: the handlers of the API, each with a record from which its route and its documentation are made.

    @operation("GET", "/topics/{topic}", tag=TOPICS, scope=Scope.READ)
    async def get_topic(call: Call, path: TopicPath) -> Topic:
        '''Get a topic.'''

The parameters `path`, `query` and `body` are models; a handler has those that it needs. What it returns is the
response: a model, None for 204, and for JSON_LINES an asynchronous iterator of models; a handler that has begun to send
returns its response of aiohttp. The first line of the docstring is the summary, the rest the description. Annotations
are evaluated when the module is imported: their names must not be behind TYPE_CHECKING.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiohttp import web

    from relay.core.access.principal import Principal
    from relay.core.access.scopes import Scope
    from relay.services.context import Context

JSON = "application/json"
JSON_LINES = "application/jsonl"
EVENT_STREAM = "text/event-stream"


class Versions(Enum):
    """The part that versions have in an operation."""

    NONE = "none"
    SHOWN = "shown"
    """The response has the version as its ETag."""
    CHECKED = "checked"
    """The request must have the version in If-Match, too."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A group of operations."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request of an operation, whose author may do it."""

    context: Context
    principal: Principal
    request: web.Request
    renew: Callable[[], Awaitable[Principal]]
    """Reads the principal of the token again."""
    version: int | None = None
    """The version in If-Match; None without one, or with `*`."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An operation of the API."""

    id: str
    """The name of its handler; unique."""
    method: str
    path: str
    """Below `/api/v1`, with its parameters in braces."""
    tag: Tag
    summary: str
    description: str
    scope: Scope | None
    """The scope that it needs; None if any valid token is enough."""
    is_for_operators: bool
    handler: Callable[..., Awaitable[Any]]
    inputs: dict[str, type[BaseModel]]
    """The models of `path`, `query` and `body`, as far as the handler has them."""
    result: TypeAdapter[Any] | None
    """The form of the response, or of each of its lines; None if it has no body, or is a stream of events."""
    status: int
    media_type: str
    versions: Versions
    takes_idempotency_key: bool
    errors: frozenset[int]
    """The statuses of its problems."""


def shows_version(operation: Operation, operations: Iterable[Operation]) -> str:
    """Return the request that shows the version of what an operation changes, such as `GET /teams/{team}`."""
    thing = operation.path[: operation.path.rfind("}") + 1]
    return next(
        f"GET {other.path}"
        for other in operations
        if other.method == "GET" and other.versions is Versions.SHOWN and other.path.startswith(thing)
    )


_ALWAYS = frozenset({400, 401, 429, 500, 503})


def operation(  # noqa: PLR0913  one argument for each part of the record
    method: str,
    path: str,
    *,
    tag: Tag,
    scope: Scope | None,
    operators_only: bool = False,
    status: int | None = None,
    versions: Versions = Versions.NONE,
    idempotent: bool = False,
    media_type: str = JSON,
    errors: frozenset[int] | set[int] = frozenset(),
) -> Callable[[Callable[..., Awaitable[Any]]], Operation]:
    """Make an operation of a handler.

    `idempotent` lets it take an Idempotency-Key: give it to all that creates or sends. `errors` are the statuses beside
    those that follow from the rest.
    """

    def make(handler: Callable[..., Awaitable[Any]]) -> Operation:
        signature = inspect.signature(handler, eval_str=True)
        inputs = {name: signature.parameters[name].annotation for name in signature.parameters if name != "call"}
        result = signature.return_annotation
        has_body = result is not None and media_type != EVENT_STREAM
        form = TypeAdapter(_line_of(result) if media_type == JSON_LINES else result) if has_body else None
        summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        return Operation(
            id=handler.__name__,
            method=method,
            path=path,
            tag=tag,
            summary=summary.rstrip("."),
            description=" ".join(description.split()),
            scope=scope,
            is_for_operators=operators_only,
            handler=handler,
            inputs=inputs,
            result=form,
            status=status or (204 if result is None else 200),
            media_type=media_type,
            versions=versions,
            takes_idempotency_key=idempotent,
            errors=_errors(inputs, scope, versions, operators_only=operators_only, idempotent=idempotent) | errors,
        )

    return make


def _line_of(result: Any) -> Any:
    """Return the type of the items of an iterator."""
    return result.__args__[0]


def _errors(
    inputs: dict[str, Any], scope: Scope | None, versions: Versions, *, operators_only: bool, idempotent: bool
) -> frozenset[int]:
    """Return the statuses of problems that follow from the form of an operation."""
    found = set(_ALWAYS)
    if scope is not None or operators_only:
        found.add(403)
    if "path" in inputs:
        found.add(404)
    if "query" in inputs:
        found.add(422)
    if "body" in inputs:
        found |= {413, 415, 422}
    if idempotent:
        found |= {409, 422}
    if versions is Versions.CHECKED:
        found |= {412, 428}
    return frozenset(found)
