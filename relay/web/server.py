"""An ingress process: two listeners, one for Linq and one for health checks, until a signal stops it.

Shutdown: `/ready` turns 503, and each further response closes its connection, so that kept ones move elsewhere. For
RELAY_SHUTDOWN_DELAY new connections are still accepted, until the load balancer has noticed. Then the listeners close,
requests in progress get their responses (bodies have ten seconds to arrive), and the process ends.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.config.admin_address import INGRESS
from relay.config.load import load_settings
from relay.config.settings import environment_with_secrets
from relay.core.lazy_modules import LazyModule
from relay.ingress_parts import ingress_parts
from relay.net.front import Handover, Requests, listening_front
from relay.process.event_loop import run, stop_on_signals
from relay.process.imports import import_later
from relay.process.lifecycle import Phase
from relay.process.logs import configure_logging
from relay.process.resources.descriptors import raise_descriptor_limit
from relay.process.resources.gc_tuning import tune_gc
from relay.process.telemetry.opening import telemetry
from relay.process.timings import DEFAULTS, load_timings
from relay.store.fleet.processes import Reporter
from relay.store.rights.check import check_access
from relay.web.admin.listener import listening_for_operators
from relay.web.admin.report import Identity, ObservedProcess
from relay.web.connections import Limits
from relay.web.fast.path import FastPath
from relay.web.health import Readiness, probes
from relay.web.ingress import Ingress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from relay.config.settings import Settings
    from relay.ingress_parts import IngressParts
    from relay.net import http_listener
    from relay.net.front import ProtocolFactory
    from relay.net.listen_address import Listen
    from relay.process.telemetry.spans import Tracer
    from relay.process.timings import Timings
    from relay.web import aiohttp_app
else:  # aiohttp, for requests that are no ordinary webhooks
    http_listener = LazyModule("relay.net.http_listener")
    aiohttp_app = LazyModule("relay.web.aiohttp_app")

log = structlog.get_logger()


@asynccontextmanager
async def listening_for_webhooks(
    parts: IngressParts,
    readiness: Readiness,
    listen: Listen,
    *,
    share_port: bool = False,
    limits: Limits | None = None,
    timings: Timings = DEFAULTS,
) -> AsyncIterator[int]:
    """Serve webhooks while the context is open; yield the port. Arguments and errors are those of `listening_front`.

    While the process stops or drains, each response closes its connection, so that kept ones move elsewhere.
    """
    requests = Requests()
    readiness.lifecycle.follow(lambda phase: requests.end(are_ending=phase in {Phase.STOPPING, Phase.DRAINING}))
    ingress = Ingress(parts)

    async def start_aiohttp() -> AbstractAsyncContextManager[ProtocolFactory]:
        await import_later(aiohttp_app.__name__)
        app = aiohttp_app.ingress_app(ingress, readiness)
        return http_listener.serving_app(app, requests, ingress.refuse_malformed)

    async with Handover(start_aiohttp) as aiohttp:
        fast_path = FastPath(ingress, parts.clock, aiohttp, requests, limits, timings, probes=probes(readiness))
        parts.metrics.count_connections(fast_path.connections.open)
        async with listening_front(fast_path, requests, listen, share_port=share_port) as port:
            yield port


async def serve_ingress(settings: Settings, *, share_port: bool = False, tracer: Tracer | None = None) -> None:
    """Run an ingress until SIGTERM or SIGINT; `share_port` lets several listen on one port (SO_REUSEPORT)."""
    stop = stop_on_signals()
    raise_descriptor_limit()
    log.info("ingress.starting", **settings.shown())
    timings = load_timings()
    async with ingress_parts(settings, timings=timings, tracer=tracer) as parts:
        await check_access(parts.redis)
        readiness = Readiness(parts)
        observed = ObservedProcess(Identity(INGRESS, settings), readiness, parts.metrics.process)
        async with (
            parts.number.checked(readiness.lifecycle.stop),
            listening_for_operators(observed, settings, INGRESS, share_port=share_port, timings=timings),
            listening_for_webhooks(
                parts,
                readiness,
                settings.relay_listen,
                share_port=share_port,
                limits=Limits.of(settings),
                timings=timings,
            ) as port,
            readiness.lifecycle.stopping_with(stop),
            Reporter(
                parts.redis,
                INGRESS,
                readiness.lifecycle,
                partial(_work, parts, timings),
                timings,
                dedupe_window=settings.relay_dedupe_window,
            ),
        ):
            log.info("ingress.listening", host=settings.relay_listen.host, port=port)
            tune_gc()
            await readiness.lifecycle.until(Phase.STOPPING)
            log.info("ingress.stopping", delay_s=settings.relay_shutdown_delay or None)
            await asyncio.sleep(settings.relay_shutdown_delay)
    log.info("ingress.stopped")


def _work(parts: IngressParts, timings: Timings) -> list[str]:
    """Return the work in hand, in words: while webhooks arrive, the load balancer still knows this ingress."""
    quiet = parts.clock() - parts.last_seen.latest
    return [] if quiet > timings.webhooks_quiet else [f"last webhook {max(quiet, 0):.1f} s ago"]


def run_role(*, share_port: bool = False) -> int:
    """Run an ingress process until a signal stops it; return the exit code."""
    settings = load_settings("relay_secret_key")
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    with telemetry(environment_with_secrets(), INGRESS) as tracer:
        run(serve_ingress(settings, share_port=share_port, tracer=tracer))
    return 0
