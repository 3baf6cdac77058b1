"""The admin listener as an aiohttp application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from pydantic_core import to_json

from relay.metrics.process_metrics import CONTENT_TYPE
from relay.web.handed_over import connection_of, follow

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from relay.web.admin.report import Observed, Report

_MAX_BODY = 1024 * 1024


def admin_app(observed: Observed) -> web.Application:
    """Return the application that operators, probes and Prometheus ask."""

    async def live(_: web.Request) -> web.Response:
        report = await observed.live()
        return _json(report, is_good=report["live"])

    async def ready(_: web.Request) -> web.Response:
        report = await observed.ready()
        return _json(report, is_good=report["ready"])

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await observed.metrics(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    app = web.Application(client_max_size=_MAX_BODY, middlewares=[follow, _with_body])
    app.router.add_get("/live", live)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app


@web.middleware
async def _with_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the body before the request is handled: its deadline is over then (middleware)."""
    await request.read()
    if connection := connection_of(request):
        connection.has_body()
    return await handler(request)


def _json(report: Report, *, is_good: bool) -> web.Response:
    body = to_json(report, indent=2) + b"\n"
    return web.Response(status=200 if is_good else 503, body=body, content_type="application/json")
