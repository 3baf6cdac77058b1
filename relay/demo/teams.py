"""Two sample teams: one has an HTTP endpoint that fails now and then, one reads a topic's stream itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from relay.consumer import consume
from relay.core.errors import BadSignature
from relay.core.line_secret import LineSecret
from relay.linq.signatures import standard
from relay.process.tasks import end_task

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable

    from relay.core.secret import SigningSecret


@dataclass(slots=True)
class Seen:
    """What a team has seen so far."""

    ids: set[str] = field(default_factory=set)
    handled: int = 0
    refused: int = 0
    """How often it answered 500 on purpose."""
    forged: int = 0
    """How often a signature did not hold; never, if all is well."""


def helpdesk_app(secret: SigningSecret, seen: Seen, clock: Callable[[], float], dice: random.Random) -> web.Application:
    """The team with an endpoint: verifies as it would verify Linq, and fails one time in eight."""
    known = LineSecret(None, 0, secret)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event_id, _ = standard.verify(request.headers, body, [known], clock())
        except BadSignature:
            seen.forged += 1
            return web.Response(status=401)
        if dice.random() < 1 / 8:
            seen.refused += 1
            return web.Response(status=500, text="the sample team has a bad moment")
        seen.ids.add(event_id)
        seen.handled += 1
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/linq", receive)
    return app


@asynccontextmanager
async def archive_team(redis_url: str, topic: str, seen: Seen) -> AsyncIterator[None]:
    """The team that reads a stream: five lines."""

    async def read() -> None:
        async with consume(redis_url, topic=topic, group="archive") as events:
            async for event in events:
                seen.ids.add(event.id)
                seen.handled += 1

    task = asyncio.create_task(read(), name="archive team")
    try:
        yield
    finally:
        await end_task(task)
