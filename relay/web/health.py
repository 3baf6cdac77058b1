"""Health checks: `/live` (the process runs) and `/ready` (it could accept a webhook now)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic_core import to_json

from relay.store.driver.client import REQUEST_TIMEOUT, RedisTrouble, describe

if TYPE_CHECKING:
    from relay.parts import IngressParts


class Readiness:
    """The readiness check: Redis responds, the keyring is loaded, and the process is not stopping."""

    def __init__(self, parts: IngressParts) -> None:
        self._parts = parts
        self.stopping = False

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Return True if every check is ok, and the report: each check, and the number of lines with a secret."""
        redis, keys = await self._redis(), self._parts.keys
        keyring = "ok" if keys.is_loaded else "no secret is loaded; run: relay bootstrap apply"
        checks = {"redis": redis, "keyring": keyring, "process": "stopping" if self.stopping else "ok"}
        ready = all(result == "ok" for result in checks.values())
        return ready, {"ready": ready, "checks": checks, "lines": keys.lines}

    async def _redis(self) -> str:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await self._parts.redis.ping()
        except RedisTrouble as error:
            return f"unreachable: {describe(error)}"
        return self._parts.memory.refusal or "ok"


def add_health(app: web.Application, readiness: Readiness) -> None:
    """Add `/live` and `/ready` to `app`."""

    async def live(_: web.Request) -> web.Response:
        return _json(200, {"live": True})

    async def ready(_: web.Request) -> web.Response:
        is_ready, report = await readiness.report()
        return _json(200 if is_ready else 503, report)

    app.router.add_get("/live", live)
    app.router.add_get("/ready", ready)


def _json(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=to_json(value), content_type="application/json")
