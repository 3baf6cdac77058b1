"""The API on the admin listener: its share of the connections, and the processes that do not have it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
from aiohttp import web

from relay.config.admin_address import ADMIN
from relay.config.settings import Settings
from relay.metrics.process_metrics import ProcessMetrics
from relay.net.front import SHUTDOWN_TIMEOUT
from relay.net.listen_address import Listen
from relay.process.timings import Timings
from relay.web.admin.listener import listening_for_operators
from relay.web.admin.report import Identity, ObservedProcess
from relay.web.connections import Limits
from tests.support import eventually

ANY_PORT = Settings(relay_admin_listen=Listen(host="127.0.0.1", port=0))
NOT_IN_THE_PATH_OF_AN_EVENT = ("relay.web.api", "relay.web.pages", "jinja2", "aiohttp_jinja2", "openapi_pydantic")


class Checks:
    """Checks that pass."""

    async def checks(self) -> dict[str, str]:
        return {"redis": "ok"}

    def facts(self) -> dict[str, Any]:
        return {}


def observed() -> ObservedProcess:
    return ObservedProcess(Identity(ADMIN, ANY_PORT), Checks(), ProcessMetrics(ADMIN))


def streams(opened: list[web.StreamResponse]) -> web.Application:
    """Return an application whose responses have no end."""
    app = web.Application()
    stopping = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        opened.append(response)
        await stopping.wait()
        return response

    async def stop(_: web.Application) -> None:
        stopping.set()

    app.router.add_get("/stream", stream)
    app.on_shutdown.append(stop)
    return app


async def test_probes_are_answered_while_streams_use_their_share() -> None:
    opened: list[web.StreamResponse] = []
    limits, timings = Limits(connections=80, idle=0.5), Timings(request_head=0.5, request_body=0.5)
    portal = {"/api/v1": streams(opened)}
    listener = listening_for_operators(observed(), ANY_PORT, ADMIN, portal=portal, limits=limits, timings=timings)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        async with listener as port:
            url = f"http://127.0.0.1:{port}"
            held = [await http.get(f"{url}/api/v1/stream") for _ in range(40)]
            refused = await http.get(f"{url}/api/v1/stream")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            for _ in range(50):
                assert (await http.get(f"{url}/live")).status == 200
            await asyncio.sleep(1.2)  # longer than every deadline: what is never finished is not cut
            assert all(not response.closed and response.content.exception() is None for response in held)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < SHUTDOWN_TIMEOUT - 1  # stopping does not wait for them
        await eventually(lambda: all(response.content.is_eof() or response.closed for response in held))


async def test_other_paths_belong_to_the_rest_of_the_portal() -> None:
    async def where(request: web.Request) -> web.Response:
        return web.Response(text=f"page {request.path}")

    page, api = web.Application(), web.Application()
    page.router.add_get("/{path:.*}", where)
    portal = {"/": page, "/api/v1": api}
    async with (
        listening_for_operators(observed(), ANY_PORT, ADMIN, portal=portal) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        for path, status in (("/", 200), ("/topics", 200), ("/live", 200), ("/api/v1/nothing", 404)):
            assert (await http.get(path)).status == status, path
        assert await (await http.get("/topics")).text() == "page /topics"
        assert "page" not in await (await http.get("/ready")).text()


async def test_ingress_and_worker_do_not_import_the_api() -> None:
    """One interpreter imports all of them: what none of them imports is not there."""
    modules = "relay.web.server, relay.web.admin.listener, workers.runtime.runner"
    program = f"import sys, {modules}; print([name for name in {NOT_IN_THE_PATH_OF_AN_EVENT!r} if name in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"[]\n")
