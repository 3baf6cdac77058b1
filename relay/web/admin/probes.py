"""The probes of an admin listener, and its connections where it has nothing else: aiohttp is left for odd requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_json

from relay.metrics.process_metrics import CONTENT_TYPE
from relay.web.fast.connection import FastConnection
from relay.web.fast.path import FastPath
from relay.web.responses import Response

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from relay.web.admin.report import Observed, Report
    from relay.web.responses import Probe

HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Headers of every response: it may be of private data, and is what its type says."""

_JSON = "application/json"


def probes_of(observed: Observed) -> dict[str, Probe]:
    """Return the probes by path, as functions that return the response."""

    async def live() -> Response:
        report = await observed.live()
        return _json(report, is_good=report["live"])

    async def ready() -> Response:
        report = await observed.ready()
        return _json(report, is_good=report["ready"])

    async def metrics() -> Response:
        return Response(200, {"Content-Type": CONTENT_TYPE, **HEADERS}, await observed.metrics())

    return {"/live": live, "/ready": ready, "/metrics": metrics}


def _json(report: Report, *, is_good: bool) -> Response:
    body = to_json(report, indent=2) + b"\n"
    return Response(200 if is_good else 503, {"Content-Type": _JSON, **HEADERS}, body)


class ProbeFront(FastPath):
    """The connections of an admin listener without a portal."""

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _ProbeConnection(self)

    async def drain(self, timeout: float) -> None:
        """Answer the requests that have begun to arrive; close idle connections."""
        self.connections.close_idle()
        await self.connections.drained(timeout)


class _ProbeConnection(FastConnection):
    """A connection whose responses may be large: the client has a while to read them."""

    _is_sending = False

    def pause_writing(self) -> None:
        """Wait until the client has read more."""
        self._is_sending = True
        self._connections.wait(self, self._connections.sending)

    def resume_writing(self) -> None:
        """Wait for what comes after the response."""
        self._is_sending = False
        if self._is_leaving:
            self.linger()
        elif self._task is None:
            self.rest()
        else:
            self._connections.handle(self)

    def rest(self) -> None:
        """Wait for the next request, once the response is read."""
        if not self._is_sending:
            super().rest()

    def linger(self) -> None:
        """Wait until the client has closed the connection, once the response is read."""
        if not self._is_sending:
            super().linger()
