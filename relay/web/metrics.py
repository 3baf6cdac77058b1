"""`/metrics` on the admin listener: the metrics of the process, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from relay.metrics.process_metrics import ProcessMetrics


def add_metrics(app: web.Application, metrics: ProcessMetrics) -> None:
    """Add `/metrics` to `app`, which must not be public: the series name topics, subscriptions and lines."""

    async def expose(_: web.Request) -> web.Response:
        body, content_type = await metrics.exposition()
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    app.router.add_get("/metrics", expose)
