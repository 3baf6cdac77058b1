"""The sandbox as one HTTP server: Linq's v3 and v2 APIs, and `/sandbox` to make things happen and to see what happened.

Everything it knows is in memory and gone with it.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from relay.sandbox.api.v2 import V2Api
from relay.sandbox.api.v3 import V3Api
from relay.sandbox.api.v3_errors import error_middleware
from relay.sandbox.control import Control
from relay.sandbox.delivery.post import Poster
from relay.sandbox.delivery.sender import Deliveries
from relay.sandbox.events.emit import Emission, happening_of
from relay.sandbox.events.event import telling_of, told_by_both
from relay.sandbox.state import SandboxState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.sandbox.events.conversations import Beat

__all__ = ["Emission", "Sandbox", "open_sandbox", "sandbox_app"]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox."""

    state: SandboxState
    deliveries: Deliveries

    def emit(self, emission: Emission) -> tuple[str, int]:
        """Sends one event; its id, and how many subscriptions want it.

        Raises:
            KeyError: there is no payload for this type, and none was given.
        """
        happening = happening_of(emission, self.state.lines)
        return happening.event_id, self.deliveries.send(happening)

    def play(self, beat: Beat) -> tuple[str, int]:
        """Sends one event of a conversation; its id, and how many subscriptions want it."""
        now = datetime.now(UTC)
        scene = replace(beat.scene, told=now)
        telling = telling_of(beat.event_type, str(uuid.uuid4()), now, scene)
        return telling.event_id, self.deliveries.send(told_by_both(telling, scene, scene.line))


@asynccontextmanager
async def open_sandbox(lines: Sequence[str], *, speed: float = 1.0, seed: int = 1) -> AsyncIterator[Sandbox]:
    """A sandbox with these lines; `speed` divides its waits between attempts."""
    state = SandboxState(lines)
    connector = aiohttp.TCPConnector(limit=0)  # the poster has the limit
    async with aiohttp.ClientSession(connector=connector, headers={"User-Agent": "linq-sandbox"}) as session:
        deliveries = Deliveries(state, Poster(session), speed, seed)
        try:
            yield Sandbox(state, deliveries)
        finally:
            await deliveries.close()


def sandbox_app(sandbox: Sandbox, api_key: str, *, allow_local: bool) -> web.Application:
    """The HTTP side of `sandbox`."""
    app = web.Application(middlewares=[error_middleware])
    v3 = V3Api(sandbox.state, api_key, sandbox.emit, allow_local=allow_local)
    v2 = V2Api(sandbox.state, api_key, allow_local=allow_local)
    for prefix in ("/api/partner", ""):
        app.add_subapp(f"{prefix}/v3", v3.app())
        app.add_subapp(f"{prefix}/v2", v2.app())
    app.add_routes(Control(sandbox.state, sandbox.emit).routes())
    return app
