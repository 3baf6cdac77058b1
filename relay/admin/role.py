"""The admin role: serves the admin listener by itself, so that no ingress has to, and on it the API and the page."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from relay.admin.linq_look import linq_looker
from relay.config.admin_address import ADMIN, UP
from relay.metrics.process_metrics import ProcessMetrics
from relay.parts import open_store
from relay.process.event_loop import stop_on_signals
from relay.process.lifecycle import Lifecycle
from relay.process.resources.gc_tuning import tune_gc
from relay.process.timings import load_timings
from relay.services.context import open_lasting_context
from relay.store.driver.client import REQUEST_TIMEOUT
from relay.store.rights.check import check_access
from relay.store.rights.probe import RedisProbe
from relay.store.sharding.number import NumberOfShards
from relay.store.state.reader import RedisReader
from relay.web.admin.group import open_group, showing_current_subscriptions
from relay.web.admin.listener import listening_for_operators
from relay.web.admin.report import Identity, ObservedProcess
from relay.web.api.app import api_app
from relay.web.pages.app import pages_app

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from relay.config.settings import Settings
    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from relay.web.admin.app import Portal
    from relay.web.admin.group import Group

_API = "/api/v1"

log = structlog.get_logger()


class AdminProbe:
    """The checks of the admin role: Redis responds, and the process is not stopping."""

    def __init__(self, redis: Redis, lifecycle: Lifecycle) -> None:
        self._redis = RedisProbe(redis)
        self._lifecycle = lifecycle

    async def checks(self) -> dict[str, str]:
        """Return the result of each check: "ok", or why it fails."""
        await self._redis.ask()
        return {"redis": self._redis.detail, "process": self._lifecycle.detail}

    def facts(self) -> dict[str, Any]:
        """Return nothing: the role has no state of its own."""
        return {}


async def serve_admin(settings: Settings) -> None:
    """Run the admin role until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    lifecycle = Lifecycle()
    log.info("admin.starting", **settings.shown())
    async with (
        open_store(settings, REQUEST_TIMEOUT) as redis,
        open_store(settings) as state,
        open_lasting_context(settings) as context,
    ):
        await check_access(redis)
        metrics = ProcessMetrics(ADMIN)
        metrics.add_reader(RedisReader(state, context.rules.known))
        observed = ObservedProcess(Identity(ADMIN, settings), AdminProbe(redis, lifecycle), metrics)
        listening = listening_for_operators(
            observed, settings, ADMIN, portal=portal_of(context), timings=load_timings()
        )
        async with NumberOfShards(redis).checked(stop.set), metrics, listening:
            tune_gc()
            await stop.wait()
            log.info("admin.stopping")
            lifecycle.stop()
    log.info("admin.stopped")


def portal_of(context: Context) -> Portal:
    """Return the applications of the admin listener that people and their programs use, by path."""
    return {_API: api_app(context), "/": pages_app(context, linq_looker(context))}


@asynccontextmanager
async def admin_group(settings: Settings, redis: Redis, stop: asyncio.Event) -> AsyncIterator[Group]:
    """Serve the admin listener of `relay up` while the context is open; yield the group that it shows.

    Raises:
        SettingsError: the number of shards is wrong; if that is found later, `stop` is set.
    """
    lifecycle = Lifecycle()
    async with (
        NumberOfShards(redis).checked(stop.set),
        open_store(settings) as state,
        open_lasting_context(settings) as context,
        open_group(Identity(UP, settings), lifecycle, AdminProbe(redis, lifecycle)) as group,
        showing_current_subscriptions(group.counts, context.rules),
        listening_for_operators(group, settings, UP, portal=portal_of(context)),
        lifecycle.stopping_with(stop),
    ):
        group.counts.add_reader(RedisReader(state, context.rules.known))
        yield group
