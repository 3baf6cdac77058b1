"""The admin listener as an aiohttp application: probes and metrics, and in some roles the API and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from relay.web.admin.probes import HEADERS, probes_of
from relay.web.admin.rest import add_rest
from relay.web.aiohttp_app import answering
from relay.web.handed_over import connection_of, follow, read_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

    from relay.web.admin.report import Observed

    Portal = Mapping[str, web.Application]
    """Applications by the path below which they are; `/` is what the others leave."""

_MAX_BODY = 1024 * 1024
_ROOT = "/"
_BUSY = "Too many requests are being handled"


def admin_app(observed: Observed, portal: Portal | None = None, busy: int = 0) -> web.Application:
    """Return the application that operators, probes and Prometheus ask.

    Of the requests to `portal`, at most `busy` are handled at a time: the rest of the connections is for the probes.
    """
    app = web.Application(client_max_size=_MAX_BODY, middlewares=[web.middleware(follow)])
    app.on_response_prepare.append(_add_headers)
    for path, probe in probes_of(observed).items():
        app.router.add_get(path, _with_body(answering(probe)))
    share = _Share(busy)
    for path, part in sorted((portal or {}).items(), reverse=True):
        part.middlewares.append(share.limit)  # innermost: the part words the refusal
        if path == _ROOT:
            add_rest(app, part)
        else:
            app.add_subapp(path, part)
    return app


class _Share:
    """The part of the connections that the portal may keep busy."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy = 0

    @web.middleware
    async def limit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request beyond the limit, unless one whose body comes slowly can make room for it (middleware)."""
        connection = connection_of(request)
        if self._busy >= self._limit and not (connection and connection.displace()):
            raise web.HTTPServiceUnavailable(reason=_BUSY, headers={hdrs.RETRY_AFTER: "1"})
        self._busy += 1
        try:
            return await handler(request)
        finally:
            self._busy -= 1


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add what every response has (a signal)."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _with_body(handler: Handler) -> Handler:
    """Return `handler` with the body read before: its deadline is over then."""

    async def handle(request: web.Request) -> web.StreamResponse:
        await read_body(request)
        return await handler(request)

    return handle
