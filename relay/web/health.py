"""Health checks: `/live` (the process runs) and `/ready` (it could accept a webhook now, of any shard).

The listener of the ingress is public, since Linq must reach it. There a check is one word of a fixed list: no address,
no number of lines, no text of an error. The details (`Readiness.detail`) are logged when a check fails and when it
passes again, the admin listener shows them (`web.admin`), and `relay doctor` finds them by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from pydantic_core import to_json

from relay.process.lifecycle import Lifecycle
from relay.store.keyring.key_cache import KeyringState
from relay.store.rights.probe import RedisProbe, RedisState
from relay.web.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.ingress_parts import IngressParts
    from relay.web.responses import Probe

_OK = "ok"
_KEYRING: Mapping[KeyringState, str] = {
    KeyringState.NOT_READ: "the keyring has not been read yet",
    KeyringState.EMPTY: "no secret is stored; run: relay bootstrap apply",
    KeyringState.WRONG_KEY: (
        "RELAY_SECRET_KEY does not decrypt the keyring: set the key that relay bootstrap apply used, "
        "or give it in RELAY_SECRET_KEY_OLD"
    ),
    KeyringState.UNUSABLE: "no record of the keyring is intact; run: relay bootstrap apply",
}

log = structlog.get_logger()


class Readiness:
    """The readiness check: Redis responds, the keyring is loaded, and the process is not stopping."""

    def __init__(self, parts: IngressParts, lifecycle: Lifecycle | None = None) -> None:
        self._parts = parts
        self.lifecycle = lifecycle or Lifecycle()
        self._redis = RedisProbe(parts.redis, parts.rights, any_shard=True)
        self._failing: dict[str, str] = {}

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Return True if every check is ok, and the report for the public: each check in one word."""
        await self._redis.ask()
        redis = "full" if self._is_full else self._redis.state.value
        checks = {"redis": redis, "keyring": self._parts.keys.state.value, "process": self.lifecycle.phase.value}
        self._log_changes(checks)
        ready = all(word == _OK for word in checks.values())
        return ready, {"ready": ready, "checks": checks}

    async def checks(self) -> dict[str, str]:
        """Return the result of each check, for operators: "ok", or why it fails."""
        await self.report()
        return self.detail()

    def detail(self) -> dict[str, str]:
        """Return the checks of the last report, with their errors in full."""
        keys = self._parts.keys
        not_read = keys.state is KeyringState.NOT_READ and keys.read_error
        return {
            "redis": str(self._parts.memory.refusal) if self._is_full else self._redis.detail,
            "keyring": not_read or _KEYRING.get(keys.state, _OK),
            "process": self.lifecycle.detail,
        }

    def facts(self) -> dict[str, Any]:
        """Return what else operators want to know: the number of lines with a secret, the records that are broken."""
        keys = self._parts.keys
        return {"lines": keys.lines, "unusable": [str(error) for error in keys.errors]}

    @property
    def _is_full(self) -> bool:
        return self._redis.state is RedisState.OK and self._parts.memory.refusal is not None

    def _log_changes(self, checks: Mapping[str, str]) -> None:
        failing = {name: word for name, word in checks.items() if word != _OK}
        for name, word in failing.items():
            if self._failing.get(name) != word:
                log.warning("ready.failing", check=name, status=word, detail=self.detail()[name])
        for name in self._failing.keys() - failing.keys():
            log.info("ready.passing", check=name)
        self._failing = failing


def probes(readiness: Readiness) -> dict[str, Probe]:
    """Return the health checks by path, as functions that return the response."""

    async def live() -> Response:
        return _json(200, {"live": True})

    async def ready() -> Response:
        is_ready, report = await readiness.report()
        return _json(200 if is_ready else 503, report)

    return {"/live": live, "/ready": ready}


def _json(status: int, value: Any) -> Response:
    return Response(status, {"Content-Type": "application/json"}, to_json(value))
