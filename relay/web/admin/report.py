"""Reports of a process to its operators: whether it lives, whether it is ready and why not, its metrics.

The admin listener is for operators only, so a report says the true cause of a check that fails, in full. (The public
listener of the ingress says a word of a fixed list: `web.health`.)
"""

from __future__ import annotations

import os
import socket
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import to_json

from relay.process.build import VERSION, revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.metrics.process_metrics import ProcessMetrics

OK = "ok"
"""The result of a check that passes."""
FINGERPRINT_LENGTH = 12

Report = dict[str, Any]
"""A JSON object."""


class Probe(Protocol):
    """The checks of a process."""

    async def checks(self) -> Mapping[str, str]:
        """Return the result of each check: "ok", or why the process is not ready."""

    def facts(self) -> Mapping[str, Any]:
        """Return what else an operator wants to know."""


class Observed(Protocol):
    """A process, or a group of processes, as the admin listener shows it."""

    async def live(self) -> Report:
        """Return a report whose `live` is False if a process must be restarted."""

    async def ready(self) -> Report:
        """Return a report whose `ready` is True if every check passes."""

    async def metrics(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""


def all_pass(checks: Mapping[str, str]) -> bool:
    """Return True if every check passes."""
    return all(result == OK for result in checks.values())


class Identity:
    """The role, build and configuration of this process."""

    def __init__(self, role: str, settings: Settings, rules: RulesInForce | None = None) -> None:
        """`rules` are the relay.toml of a role that reads it."""
        self.role = role
        self._settings = sha256(to_json(settings.shown())).hexdigest()[:FINGERPRINT_LENGTH]
        self._rules = rules
        self._began = time.monotonic()

    def report(self) -> Report:
        """Return the identity; two processes with equal fingerprints have the same configuration."""
        return {
            "role": self.role,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": VERSION,
            "revision": revision(),
            "uptime_s": round(time.monotonic() - self._began, 1),
            "settings": {"fingerprint": self._settings},
            **({"config": self._rules.report()} if self._rules else {}),
        }


class ObservedProcess:
    """This process, as its admin listener shows it."""

    def __init__(self, identity: Identity, probe: Probe, metrics: ProcessMetrics | None = None) -> None:
        self._identity = identity
        self._probe = probe
        self._metrics = metrics
        if metrics is not None:
            metrics.watch_ready(self._is_ready)

    async def live(self) -> Report:
        """Return the report of a process whose event loop runs."""
        return {"live": True, **self._identity.report()}

    async def ready(self) -> Report:
        """Return a report whose `ready` is True if every check passes."""
        checks = dict(await self._probe.checks())
        return {"ready": all_pass(checks), "checks": checks, **self._identity.report(), **self._probe.facts()}

    async def metrics(self) -> bytes:
        """Return the metrics of this process."""
        return await self._metrics.exposition() if self._metrics else b""

    async def _is_ready(self) -> bool:
        return all_pass(await self._probe.checks())
