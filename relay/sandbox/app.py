"""The sandbox as one HTTP server: Linq's v3 API, and `/sandbox` to make things happen and to see what happened.

    POST /sandbox/emit          {"type": "message.received", "line": "+16465550123"}: an event, to all who want it
    GET  /sandbox/deliveries    every delivery with its attempts

Everything it knows is in memory and gone with it.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from relay.sandbox.errors import error_middleware, invalid, malformed
from relay.sandbox.payloads import Scene, data_of, envelope, known_types
from relay.sandbox.sender import Deliveries
from relay.sandbox.state import SandboxState
from relay.sandbox.v3 import V3Api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.sandbox.conversations import Beat


class Emission(BaseModel):
    """What `POST /sandbox/emit` takes."""

    model_config = ConfigDict(extra="forbid")

    type: str
    line: str | None = None
    event_id: str | None = None
    data: dict[str, Any] | None = None
    """The payload; the sandbox makes one for the types it knows."""
    body: str | None = None
    """The whole body, sent as it is instead of an envelope."""
    version: str | None = None
    """A payload version; else what each subscription's URL asks for."""


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
        event_id = emission.event_id or str(uuid.uuid4())
        moment = datetime.now(UTC)
        scene = Scene(line=emission.line or self.state.lines[0])
        if emission.data is None and emission.body is None:
            data_of(emission.type, scene, "")

        def body_of(version: str) -> bytes:
            if emission.body is not None:
                return emission.body.encode()
            chosen = emission.version or version
            data = emission.data if emission.data is not None else data_of(emission.type, scene, chosen)
            return envelope(emission.type, event_id, data, chosen, moment)

        return event_id, self.deliveries.send(emission.type, event_id, emission.line, body_of)

    def play(self, beat: Beat) -> tuple[str, int]:
        """Sends one event of a conversation; its id, and how many subscriptions want it."""
        event_id, moment = str(uuid.uuid4()), datetime.now(UTC)
        return event_id, self.deliveries.send(
            beat.event_type,
            event_id,
            beat.scene.line,
            lambda version: envelope(
                beat.event_type, event_id, data_of(beat.event_type, beat.scene, version), version, moment
            ),
        )


@asynccontextmanager
async def open_sandbox(lines: Sequence[str], *, speed: float = 1.0, seed: int = 1) -> AsyncIterator[Sandbox]:
    """A sandbox with these lines; `speed` divides its waits between attempts."""
    state = SandboxState(lines)
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector, headers={"User-Agent": "linq-sandbox"}) as session:
        deliveries = Deliveries(state, session, speed, seed)
        try:
            yield Sandbox(state, deliveries)
        finally:
            await deliveries.close()


def sandbox_app(sandbox: Sandbox, api_key: str, *, allow_local: bool) -> web.Application:
    """The HTTP side of `sandbox`."""
    app = web.Application(middlewares=[error_middleware])
    api = V3Api(sandbox.state, api_key, allow_local=allow_local)
    app.add_subapp("/api/partner/v3", api.app())
    app.add_subapp("/v3", api.app())

    async def emit(request: web.Request) -> web.Response:
        try:
            emission = Emission.model_validate_json(await request.read())
        except ValidationError as error:
            raise malformed(str(error)) from None
        try:
            event_id, wanted_by = sandbox.emit(emission)
        except KeyError:
            known = ", ".join(known_types())
            raise invalid(f'give "data" for {emission.type}; the sandbox makes payloads for {known}') from None
        return _json({"event_id": event_id, "subscriptions": wanted_by})

    async def deliveries(_: web.Request) -> web.Response:
        return _json({"deliveries": [delivery.shown() for delivery in sandbox.state.deliveries]})

    app.router.add_post("/sandbox/emit", emit)
    app.router.add_get("/sandbox/deliveries", deliveries)
    return app


def _json(value: Any) -> web.Response:
    return web.Response(body=to_json(value), content_type="application/json")
