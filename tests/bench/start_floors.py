"""Floors of the start: processes that import what a role stands on, connect to Redis, and are ready.

python -m tests.bench.start_floors ingress REDIS_URL PORT    aiohttp.web, uvloop, redis.asyncio; serves /ready
python -m tests.bench.start_floors worker REDIS_URL KEY      arq, uvloop, redis.asyncio, pydantic, structlog, httptools;
                                                             sets a key
"""

from __future__ import annotations

import asyncio
import importlib
import sys

_WORKER = ("arq", "pydantic.main", "structlog", "httptools")


async def ingress(url: str, port: str) -> None:
    """Serve `/ready` until the process is ended."""
    import redis.asyncio  # noqa: PLC0415  each floor imports its own
    from aiohttp import web  # noqa: PLC0415

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async with redis.asyncio.Redis.from_url(url) as client:
        await client.ping()
        app = web.Application()
        app.router.add_get("/ready", ready)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(port)).start()
        await asyncio.Event().wait()


async def worker(url: str, key: str) -> None:
    """Set a key, and wait until the process is ended."""
    for name in _WORKER:
        importlib.import_module(name)
    import redis.asyncio  # noqa: PLC0415  each floor imports its own

    async with redis.asyncio.Redis.from_url(url) as client:
        await client.set(key, "ready")
        await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    role, url, place = sys.argv[1:]
    uvloop.run({"ingress": ingress, "worker": worker}[role](url, place))
