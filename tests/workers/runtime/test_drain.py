"""`relay drain`: a worker starts nothing new, what is in flight ends, and events wait until it takes work again."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.config.settings import Settings
from relay.doctor.fleet_checks import examine_fleet
from relay.process.lifecycle import Lifecycle, Phase
from relay.process.tasks import in_background
from relay.store.fleet.processes import Reporter, processes
from tests.building import webhook_of
from tests.cli.running import invoke_beside
from tests.support import eventually
from tests.workers.conftest import TIMINGS, accept
from workers.runtime.parts import worker_parts
from workers.runtime.runner import _pool, _work, _work_until_stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink
    from workers.runtime.parts import WorkerParts

QUICK = replace(TIMINGS, process_report=0.02)
HOST = socket.gethostname()


@asynccontextmanager
async def reporting_worker(settings: Settings) -> AsyncIterator[WorkerParts]:
    """Run a worker that obeys orders to drain."""
    async with worker_parts(settings, QUICK) as parts:
        pool, lifecycle = _pool(settings, parts.redis.key), parts.readiness.lifecycle
        lifecycle.run()
        arq: list[object] = []
        async with (
            Reporter(parts.redis, "worker", lifecycle, partial(_work, parts, arq), QUICK),  # type: ignore[arg-type]
            in_background(_work_until_stopped(pool, parts, arq)) as working,  # type: ignore[arg-type]
        ):
            yield parts
            lifecycle.stop()
            await working
        await pool.aclose(close_connection_pool=True)


@pytest.fixture
def settings(redis_url: str, rules_file: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("RELAY_CONFIG", str(rules_file))
    return Settings.load()


async def test_drain_waits_for_what_is_in_flight(redis: Redis, settings: Settings, sink: Sink) -> None:
    release = asyncio.Event()

    async def answer(_: Received) -> web.Response:
        await release.wait()
        return web.Response()

    sink.answer = answer
    async with reporting_worker(settings) as parts:
        first = webhook_of()
        await accept(redis, first)
        await eventually(lambda: len(sink.ids()) == 2)
        late = await invoke_beside("drain", "--wait", "--timeout", "300ms", "--why", "Redis moves")
        assert late.code == 1
        assert f"Not drained after 300ms: worker on {HOST}" in late.out
        assert "1 in flight to bot, 1 in flight to crm" in late.out
        checks = await parts.readiness.checks()
        assert checks["process"].startswith("draining: by ")
        assert "(Redis moves)" in checks["process"]
        assert checks["process"].endswith("to end it: relay drain --end")

        release.set()
        said = await invoke_beside("drain", "--wait")
        assert said.code == 0
        assert f"Drained, nothing is in flight: worker on {HOST}" in said.out
        second = webhook_of()
        await accept(redis, second)
        status = await invoke_beside("drain", "--status", "--json")
        assert [(each["phase"], each["work"]) for each in status.json["processes"]] == [("draining", [])]
        [finding] = await examine_fleet(redis, time.time())
        assert (finding.area, finding.remedy) == ("processes", "relay drain --end")
        again = await invoke_beside("drain", "--wait", "--json")
        assert (again.code, again.json["waiting"], again.json["busy"]) == (0, 1, [])
        assert sink.ids() == [first.id, first.id]

        assert "takes work again" in (await invoke_beside("drain", "--end")).out
        await eventually(lambda: sorted(sink.ids()) == sorted([first.id, first.id, second.id, second.id]))
        assert (await parts.readiness.checks())["process"] == "ok"
    assert await processes(redis, time.time() * 1000) == []


async def test_worker_that_starts_drained_waits_for_the_end(redis: Redis, settings: Settings, sink: Sink) -> None:
    assert (await invoke_beside("drain", "--wait", "--for", "1s")).code == 0  # no worker runs
    async with reporting_worker(settings) as parts:
        assert parts.readiness.lifecycle.is_draining
        event = webhook_of()
        await accept(redis, event)
        assert await redis.xlen(redis.key.inbox) == 1
        await eventually(lambda: sorted(sink.ids()) == [event.id, event.id])  # the order has expired


@pytest.mark.parametrize(
    ("options", "role", "drains"),
    [
        ((), "worker", True),
        ((), "ingress", False),  # with no ingress ready, Linq's webhooks would have no place to go
        (("--host", HOST), "ingress", True),
        (("--host", HOST), "worker", True),
    ],
)
async def test_order_concerns(
    redis: Redis, settings: Settings, options: tuple[str, ...], role: str, *, drains: bool
) -> None:
    del settings
    lifecycle = Lifecycle()
    async with Reporter(redis, role, lifecycle, list, QUICK):
        said = await invoke_beside("drain", "--wait", *options)
        assert said.code == 0
        assert lifecycle.is_draining == drains
        await invoke_beside("drain", "--end", *options)
        await eventually(lambda: lifecycle.phase is Phase.RUNNING)
    unknown = await invoke_beside("drain", "--end", "--host", "elsewhere")
    assert "There was no order to drain elsewhere" in unknown.out
