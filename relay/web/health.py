"""Health checks: `/live` (the process runs) and `/ready` (it could accept a webhook now).

The listener of the ingress is public, since Linq must reach it. There a check is one word of a fixed list: no address,
no number of lines, no text of an error. The details (`Readiness.detail`) are logged when a check fails and when it
passes again, and `relay doctor` finds them by itself. Redis is asked at most twice a second, however often `/ready` is
called.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from pydantic_core import to_json

from relay.store import keys
from relay.store.driver.client import REDIS_ERRORS, REQUEST_TIMEOUT, describe
from relay.store.keyring.key_cache import KeyringState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.parts import IngressParts

_MAX_AGE = 0.5  # seconds that a response of Redis counts
_OK = "ok"
_KEYRING: Mapping[KeyringState, str] = {
    KeyringState.NOT_READ: "the keyring has not been read yet",
    KeyringState.EMPTY: "no secret is stored; run: relay bootstrap apply",
    KeyringState.WRONG_KEY: (
        f"RELAY_SECRET_KEY does not decrypt {keys.KEYRING}: set the key that relay bootstrap apply used, "
        "or give it in RELAY_SECRET_KEY_OLD"
    ),
    KeyringState.UNUSABLE: f"no record of {keys.KEYRING} is intact; run: relay bootstrap apply",
}

log = structlog.get_logger()


class Readiness:
    """The readiness check: Redis responds, the keyring is loaded, and the process is not stopping."""

    def __init__(self, parts: IngressParts) -> None:
        self._parts = parts
        self.stopping = False
        self._redis_error: str | None = None
        self._asked_at = -_MAX_AGE
        self._asking = asyncio.Lock()
        self._failing: dict[str, str] = {}

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Return True if every check is ok, and the report for the public: each check in one word."""
        await self._ask_redis()
        redis = "unreachable" if self._redis_error else "full" if self._parts.memory.refusal else _OK
        process = "stopping" if self.stopping else _OK
        checks = {"redis": redis, "keyring": self._parts.keys.state.value, "process": process}
        self._log_changes(checks)
        ready = all(word == _OK for word in checks.values())
        return ready, {"ready": ready, "checks": checks}

    async def is_ready(self) -> bool:
        """Return True if every check is ok."""
        ready, _ = await self.report()
        return ready

    def detail(self) -> dict[str, Any]:
        """Return the details of the last report, for operators only: errors, the lines, the records that are broken."""
        parts = self._parts
        return {
            "redis": self._redis_error or parts.memory.refusal or _OK,
            "keyring": parts.keys.read_error or _KEYRING.get(parts.keys.state, _OK),
            "process": "the process is stopping" if self.stopping else _OK,
            "lines": parts.keys.lines,
            "unusable": [str(error) for error in parts.keys.errors],
        }

    async def _ask_redis(self) -> None:
        async with self._asking:
            if time.monotonic() - self._asked_at < _MAX_AGE:
                return
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    await self._parts.redis.ping()
            except REDIS_ERRORS as error:
                self._redis_error = f"unreachable: {describe(error)}"
            else:
                self._redis_error = None
            self._asked_at = time.monotonic()

    def _log_changes(self, checks: Mapping[str, str]) -> None:
        failing = {name: word for name, word in checks.items() if word != _OK}
        for name, word in failing.items():
            if self._failing.get(name) != word:
                log.warning("ready.failing", check=name, status=word, detail=self.detail()[name])
        for name in self._failing.keys() - failing.keys():
            log.info("ready.passing", check=name)
        self._failing = failing


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
