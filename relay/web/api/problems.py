"""Problem details (RFC 9457): every error of the API, from one table.

`type` is a stable reference that a program can compare; its fragment is a section of `deploy/docs/api.md`. `detail` is
for people.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import BaseModel

from relay.core.errors import (
    ChangedMeanwhile,
    ConfigError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RelayError,
    ServiceError,
    SettingsError,
    StoreError,
    TooMany,
)
from relay.services.topics.history.find import NotFoundYet
from relay.store.driver.client import REDIS_ERRORS, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 1.0
"""Seconds after which a request is worth another try that Redis did not answer."""
MAX_BODY = 256 * 1024
"""Bytes of a body."""
_TYPES = "/api/v1/docs#"

KINDS = {
    400: ("malformed", "The request cannot be read."),
    401: ("unauthenticated", "No valid token came with the request."),
    403: ("forbidden", "The token lacks the right."),
    404: ("not-found", "There is no such thing, or the token may not see it."),
    405: ("method-not-allowed", "The path has no such method."),
    409: ("conflict", "The request contradicts the present state."),
    412: ("changed-meanwhile", "If-Match is not the present version."),
    413: ("too-large", "The body is too large."),
    415: ("unsupported-media-type", "The body is not JSON."),
    422: ("invalid", "Fields of the request have mistakes, or the Idempotency-Key was used for another request."),
    428: ("if-match-missing", "The change needs If-Match with the version that it was made from."),
    429: ("too-many", "A limit is reached."),
    500: ("internal-error", "The relay made a mistake; its log has the cause."),
    503: ("unavailable", "Redis does not answer, or a setting is missing."),
}
"""Name and title of the problem, by status."""


class FieldError(BaseModel):
    """A mistake in a field of the request."""

    field: str
    """Its place in the body, the query or the head, such as `retry.0`, `limit` or `If-Match`."""
    message: str
    """The mistake."""


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str
    """The kind of error; stable."""
    title: str
    """The kind of error in words; the same for each error of a kind."""
    status: int
    """The HTTP status."""
    detail: str
    """The present cause, and what to do."""
    instance: str
    """The id of the request, as in its `X-Request-Id`."""
    errors: list[FieldError] = []
    """The mistakes, each with its field."""
    cursor: str | None = None
    """Given if there was no time to search everything: ask again with it."""


class ApiProblem(RelayError):
    """A request that the API itself refuses."""

    code = "api"

    def __init__(
        self,
        status: int,
        detail: str,
        *errors: FieldError,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`retry_after` is seconds."""
        super().__init__(detail)
        self.status = status
        self.errors = errors
        self.cursor: str | None = None
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(math.ceil(retry_after))


_STATUS_BY_ERROR: dict[type[RelayError], int] = {
    NotFound: 404,
    Forbidden: 403,
    ChangedMeanwhile: 412,
    Conflict: 409,
    Invalid: 422,
    TooMany: 429,
    StoreError: 503,
    SettingsError: 503,
    ConfigError: 503,
}


def problem_of(error: Exception) -> ApiProblem | None:
    """Return the answer to an error; None if it is a mistake of the relay."""
    if isinstance(error, ApiProblem):
        return error
    if isinstance(error, REDIS_ERRORS):
        return ApiProblem(503, f"Redis: {describe(error)}", retry_after=RETRY_AFTER)
    for kind, status in _STATUS_BY_ERROR.items():
        if isinstance(error, kind):
            errors = _field_errors(error) if isinstance(error, Invalid) else ()
            retry_after = RETRY_AFTER if status in {429, 503} else None
            message = error.for_api if isinstance(error, ServiceError) else str(error)
            problem = ApiProblem(status, message or KINDS[status][1], *errors, retry_after=retry_after)
            problem.cursor = error.cursor if isinstance(error, NotFoundYet) else None
            return problem
    return None


def http_problem(error: web.HTTPException) -> ApiProblem:
    """Return the answer to an error of aiohttp."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ApiProblem(405, f"this path has {allowed}, not {error.method}", headers={"Allow": allowed})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return ApiProblem(413, f"the body is too large: at most {MAX_BODY // 1024} KiB")
    if error.status == HTTPStatus.NOT_FOUND:
        return ApiProblem(404, "there is no such path; /api/v1/docs lists them")
    retry_after = RETRY_AFTER if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return ApiProblem(error.status if error.status in KINDS else 400, error.reason, retry_after=retry_after)


def respond(problem: ApiProblem, request_id: str) -> web.Response:
    """Return the response for a problem."""
    name, title = KINDS[problem.status]
    details = ProblemDetails(
        type=_TYPES + name,
        title=title,
        status=problem.status,
        detail=_text(str(problem)),
        instance=request_id,
        errors=[FieldError(field=_text(error.field), message=_text(error.message)) for error in problem.errors],
        cursor=problem.cursor,
    )
    empty = {name for name in ("errors", "cursor") if not getattr(details, name)}
    body = details.model_dump_json(exclude=empty).encode()
    return web.Response(status=problem.status, body=body, headers=problem.headers, content_type=MEDIA_TYPE)


def _text(text: str) -> str:
    """Return a text as UTF-8 can have it: a header may have any bytes, which a message may repeat."""
    return text.encode(errors="replace").decode()


def _field_errors(error: Invalid) -> Iterable[FieldError]:
    return (FieldError(field=problem.place, message=problem.message) for problem in error.problems)
