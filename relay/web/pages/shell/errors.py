"""Errors as pages: what is wrong, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from relay.core.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    Invalid,
    LinqApiError,
    NotFound,
    RelayError,
    TooMany,
)
from relay.net.http_listener import is_disconnected
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.web.pages.shell.rendering import response_of

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

_STATUSES: dict[type[RelayError], tuple[int, str]] = {
    NotFound: (404, "Not found"),
    Forbidden: (403, "Not allowed"),
    Conflict: (409, "Not possible now"),
    Invalid: (422, "Not valid"),
    TooMany: (429, "Too many"),
    ConfigError: (503, "relay.toml has mistakes"),
    LinqApiError: (502, "Linq's API did not answer"),
}
_TITLES = {400: "Not readable", 404: "Not found", 405: "Not allowed", 413: "Too large"}
_HINTS = {
    404: "There is no such page. The link may be old: what is deleted or trimmed leaves no page behind.",
    405: "This address takes no such request. Go back, and use the form of the page.",
    413: "What you sent is too large for this form.",
}
_NO_REDIS = "Redis does not answer, so nothing can be shown. /ready says why; events at Linq wait for it."
_BUG = "This is a mistake of the relay. Its log has the details; please report them."

log = structlog.get_logger()


@web.middleware
async def show_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer an error with a page (middleware)."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        title = _TITLES.get(error.status, error.reason)
        return _page(request, error.status, title, _HINTS.get(error.status, error.reason))
    except RelayError as error:
        kinds = (_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)
        status, title = next(kinds, (500, "It did not work"))
        return _page(request, status, title, str(error))
    except REDIS_ERRORS as error:
        if isinstance(error, ConnectionError) and is_disconnected(request):
            raise
        log.warning("page.failed", path=request.path, error=describe(error))
        return _page(request, 503, "Redis does not answer", _NO_REDIS)
    except Exception:
        log.exception("page.failed", path=request.path)
        return _page(request, 500, "It did not work", _BUG)


def _page(request: web.Request, status: int, title: str, message: str) -> web.Response:
    is_part = "HX-Request" in request.headers
    template = "error_part.html" if is_part else "error.html"
    values = {"status": status, "title": title, "message": message}
    return response_of(request, template, values, status)
