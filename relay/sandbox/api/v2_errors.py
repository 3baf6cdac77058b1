"""Linq's v2 errors, in their two shapes (https://docs.linqapp.com/v2/api, the Error and StandardError objects).

    subscriptions      {"status": "422", "error_code": "...", "message": "...", "errors": ["...", ...]}
    everything else    {"errors": [{"status": 422, "code": "...", "title": "...", "detail": "..."}, ...]}

Linq documents 403 for a number that is not yours and 422 for one it cannot forward to; the other statuses and
the codes are our choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    422: "unprocessable_entity",
    429: "too_many_requests",
    500: "internal_server_error",
}

log = structlog.get_logger()


class V2Error(Exception):
    """A response other than 2xx: the HTTP status, and a sentence for each problem; `retry_after` in seconds."""

    def __init__(self, status: int, *problems: str, retry_after: int | None = None) -> None:
        super().__init__(", ".join(problems))
        self.status = status
        self.problems = problems
        self.retry_after = retry_after


@web.middleware
async def error_middleware_v2(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into responses of the shape that Linq uses for the path."""
    try:
        return await handler(request)
    except V2Error as error:
        return _response(error, request.path)
    except web.HTTPException as error:
        return _response(V2Error(error.status, error.reason), request.path)
    except Exception:
        log.exception("sandbox.error", path=request.path)
        return _response(V2Error(500, "Internal server error"), request.path)


def _response(error: V2Error, path: str) -> web.Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    body = _subscription_body(error) if "/webhook_subscriptions" in path else _list_body(error)
    return web.json_response(body, status=error.status, headers=headers)


def _subscription_body(error: V2Error) -> dict[str, Any]:
    return {
        "status": str(error.status),
        "error_code": _code(error),
        "message": str(error),
        "errors": list(error.problems),
    }


def _list_body(error: V2Error) -> dict[str, Any]:
    code = _code(error)
    title = code.replace("_", " ").capitalize()
    return {
        "errors": [
            {"status": error.status, "code": code, "title": title, "detail": problem} for problem in error.problems
        ]
    }


def _code(error: V2Error) -> str:
    return _CODES.get(error.status, "error")
