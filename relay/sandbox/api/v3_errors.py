"""Error bodies and codes of Linq's v3 API (https://docs.linqapp.com/error/codes/)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger()
TRACE_HEADER = "X-Trace-ID"
_DOC = "https://docs.linqapp.com/error/codes/{family}xxx/{code}/"


class ApiError(Exception):
    """A response other than 2xx: the HTTP status, Linq's code and message; `retry_after` in seconds."""

    def __init__(self, status: int, code: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status
        self.code = code
        self.message = message


def missing_field(field: str) -> ApiError:
    """1001: a required field is missing."""
    return ApiError(400, 1001, f"{field} is required")


def not_e164() -> ApiError:
    """1002: a phone number is not E.164."""
    return ApiError(400, 1002, "Phone number must be in E.164 format")


def malformed(message: str) -> ApiError:
    """1003: the body is not JSON, or has the wrong shape."""
    return ApiError(400, 1003, message)


def invalid(message: str) -> ApiError:
    """1005: a value is not allowed."""
    return ApiError(400, 1005, message)


def unauthorized() -> ApiError:
    """2004: the token is missing or wrong."""
    return ApiError(401, 2004, "Unauthorized - missing or invalid authentication token")


def rate_limited(retry_after: int) -> ApiError:
    """1007: too many calls; body and Retry-After header have the same number of seconds."""
    return ApiError(429, 1007, "Rate limit exceeded", retry_after)


def foreign() -> ApiError:
    """2005: the subscription belongs to another account."""
    return ApiError(403, 2005, "Access denied - resource belongs to another account")


def not_your_line() -> ApiError:
    """2006: the account does not have a phone number."""
    return ApiError(403, 2006, "Phone number does not belong to your account")


def unknown_line() -> ApiError:
    """2019: no phone number has this id."""
    return ApiError(404, 2019, "Phone number not found")


def internal_error(status: int = 500) -> ApiError:
    """3006: an internal error of Linq."""
    return ApiError(status, 3006, "Internal server error")


def unknown_chat() -> ApiError:
    """2001: no chat has this id."""
    return ApiError(404, 2001, "Chat not found")


def unknown_message() -> ApiError:
    """2002: no message has this id."""
    return ApiError(404, 2002, "Message not found")


def not_found() -> ApiError:
    """2010: no subscription has this id."""
    return ApiError(404, 2010, "Webhook subscription not found")


def duplicate_target_url() -> ApiError:
    """2015: a target URL is unique per account; Linq does not document the code of this error."""
    return ApiError(409, 2015, "A webhook subscription with this target_url already exists")


@web.middleware
async def error_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn errors into responses of Linq's shape, and add a trace id to every response."""
    trace = secrets.token_hex(16)
    try:
        response = await handler(request)
    except ApiError as error:
        response = _response(error, trace)
    except web.HTTPException as error:
        response = _response(ApiError(error.status, 1003, error.reason), trace)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    except Exception:
        log.exception("sandbox.error", path=request.path)
        response = _response(internal_error(), trace)
    response.headers[TRACE_HEADER] = trace
    return response


def _response(error: ApiError, trace: str) -> web.Response:
    detail: dict[str, int | str] = {
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "doc_url": _DOC.format(family=error.code // 1000, code=error.code),
    }
    headers = {}
    if error.retry_after is not None:
        detail["retry_after"] = error.retry_after
        headers["Retry-After"] = str(error.retry_after)
    body = to_json({"success": False, "error": detail, "trace_id": trace})
    return web.Response(status=error.status, body=body, content_type="application/json", headers=headers)
