"""Two sample teams: helpdesk has an HTTP endpoint that fails now and then, archive reads the stream of a topic."""

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
class TeamStats:
    """Counters of one team."""

    ids: set[str] = field(default_factory=set)
    handled: int = 0
    failed: int = 0
    """Deliveries that it responded to with 500 on purpose."""
    forged: int = 0
    """Deliveries with a wrong signature; 0 if the relay signs correctly."""


def helpdesk_app(
    secret: SigningSecret, stats: TeamStats, clock: Callable[[], float], rng: random.Random
) -> web.Application:
    """Return the endpoint of helpdesk: it verifies like a direct receiver of Linq, and fails one delivery in eight."""
    line_secret = LineSecret(None, 0, secret)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event_id, _ = standard.verify(request.headers, body, [line_secret], clock())
        except BadSignature:
            stats.forged += 1
            return web.Response(status=401)
        if rng.random() < 1 / 8:
            stats.failed += 1
            return web.Response(status=500, text="simulated failure")
        stats.ids.add(event_id)
        stats.handled += 1
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/linq", receive)
    return app


@asynccontextmanager
async def archive_team(redis_url: str, topic: str, stats: TeamStats) -> AsyncIterator[None]:
    """Run the team that reads a stream: with `consume`, this takes five lines."""

    async def read() -> None:
        async with consume(redis_url, topic=topic, group="archive") as events:
            async for event in events:
                stats.ids.add(event.id)
                stats.handled += 1

    task = asyncio.create_task(read(), name="archive team")
    try:
        yield
    finally:
        await end_task(task)
