"""`relay health`: what a container's health check asks, and its exit codes."""

from __future__ import annotations

from aiohttp import web

from relay.net.http_listener import listening
from tests.cli.running import main_here
from tests.sandbox.running import ANY_PORT, closed_port


async def test_health_is_the_status_of_the_admin_listener() -> None:
    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=503, text='{"redis": "unreachable"}')

    app = web.Application()
    app.add_routes([web.get("/live", live), web.get("/ready", ready)])
    async with listening(app, ANY_PORT) as port:
        alive = await main_here("health", RELAY_ADMIN_LISTEN=f"0.0.0.0:{port}")
        assert (alive.code, alive.out) == (0, f"127.0.0.1:{port}: live\n")
        unready = await main_here("health", "--ready", RELAY_ADMIN_LISTEN=f":{port}")
        assert (unready.code, unready.out) == (1, "")
        assert "503" in unready.err
        assert "unreachable" in unready.err


async def test_health_of_a_process_that_is_not_there() -> None:
    with closed_port() as port:
        said = await main_here("health", RELAY_ADMIN_LISTEN=f"127.0.0.1:{port}")
    assert said.code == 1
    assert said.is_one_message_without_traceback()
    assert f"127.0.0.1:{port}: " in said.err
