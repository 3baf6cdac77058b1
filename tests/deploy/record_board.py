"""Records the board: runs the service and a Prometheus for some minutes, and draws what its panels show then.

    .venv/bin/python -m tests.deploy.record_board [MINUTES]     writes deploy/docs/images/board.svg

The traffic is that of the sandbox. One subscriber is down for a while, so that its circuit breaker opens; another one
refuses some events, which become dead letters; a pull group reads in bursts. Prometheus is the one on the PATH.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from aiohttp import web
from redis.exceptions import ResponseError

from relay.sandbox.events.conversations import conversations
from relay.store.keys import Keyspace
from tests.deploy.dashboard import FILE
from tests.deploy.picture import draw
from tests.journeys.conftest import LINES, Service, open_service
from tests.prometheus import prometheus
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from tests.workers.conftest import Received

PICTURE = Path(__file__).parents[2] / "deploy/docs/images/board.svg"
_ROLES = {"ingress": "relay", "worker": "workers", "admin": "relay"}
_STEP = 2  # seconds from one scrape to the next
_RATE = 20.0  # events a second
_GROUP = "archive"


async def record(minutes: float) -> None:
    """Run everything for `minutes`, and write the picture."""
    with tempfile.TemporaryDirectory() as name:
        async with open_service(Path(name)) as service:
            ports = await _start(service)
            async with prometheus(Path(name), _configuration(ports)) as url:
                began = time.time()
                await _traffic(service, minutes * 60)
                async with aiohttp.ClientSession(url) as http:
                    PICTURE.write_text(await draw(_ask(http, began, time.time()), began, time.time()), encoding="utf-8")


async def _start(service: Service) -> dict[str, int]:
    """Start a process of each role; return the ports of their admin listeners."""
    await service.bootstrap()
    ports = {}
    for role, module in _ROLES.items():
        ports[role] = reserve_port()
        service.environment["RELAY_ADMIN_LISTEN"] = f"127.0.0.1:{ports[role]}"
        await service.start(*(() if module == "workers" else (role,)), module=module)
    await eventually(service.is_ready)
    return ports


def _configuration(ports: dict[str, int]) -> str:
    """Return the configuration of Prometheus in YAML."""
    config = {
        "global": {"scrape_interval": f"{_STEP}s", "evaluation_interval": f"{_STEP}s"},
        "rule_files": [str(FILE.parent / "rules.yaml")],
        "scrape_configs": [
            {
                "job_name": "relay",
                "static_configs": [
                    {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": role}} for role, port in ports.items()
                ],
            }
        ],
    }
    return yaml.safe_dump(config)


async def _traffic(service: Service, seconds: float) -> None:
    """Play conversations; the second third of the time the subscriber `crm` is down."""
    began = time.monotonic()
    numbers = count()

    async def respond(received: Received) -> web.StreamResponse:
        passed = (time.monotonic() - began) / seconds
        await asyncio.sleep(0.02 if received.path == "/bot" else 0.08)
        if received.path == "/crm" and 0.35 < passed < 0.6:
            return web.Response(status=500)
        return web.Response(status=422 if received.path == "/bot" and next(numbers) % 200 == 0 else 204)

    service.sink.answer = respond
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(_pull(service))
        for step in conversations(LINES, 1):
            service.sandbox.play(step)
            await asyncio.sleep(1 / _RATE)
            if time.monotonic() - began > seconds:
                break
        reader.cancel()


async def _pull(service: Service) -> None:
    """Read the topic `everything` every twenty seconds."""
    stream = Keyspace().topic("everything")
    async with service.redis.client() as redis:
        while True:
            await asyncio.sleep(20)
            with suppress(ResponseError):
                await redis.xgroup_create(stream, _GROUP, "0")
            rows = await redis.xreadgroup(_GROUP, "one", {stream: ">"}, count=1000)
            entries = [entry for _, found in rows for entry, _ in found]
            if entries[:-20]:
                await redis.xack(stream, _GROUP, *entries[:-20])


def _ask(http: aiohttp.ClientSession, began: float, end: float) -> Any:
    async def ask(expression: str) -> list[dict[str, Any]]:
        query = {"query": expression, "start": str(began), "end": str(end), "step": f"{_STEP}"}
        async with http.get("/api/v1/query_range", params=query) as response:
            body = await response.json()
            if body["status"] != "success":
                raise ValueError(f"{expression}: {body['error']}")
            found: list[dict[str, Any]] = body["data"]["result"]
            return found

    return ask


if __name__ == "__main__":
    asyncio.run(record(float(sys.argv[1]) if len(sys.argv) > 1 else 5))
