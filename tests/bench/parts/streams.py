"""The API: how fast one connection pulls, and what ten pages that poll and fifty streams cost accepting and pushing.

A row with "50 streams" has the same measurement without them as its floor: the ratio is the result.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.process.subprocesses import reserved_port
from relay.services.account.tokens import create_token
from relay.services.context import open_context
from tests.bench.events import Order
from tests.bench.processes import answers, load, output_of, program
from tests.bench.sheet import FLOOR, RELAY
from tests.bench.stage import new_stage, pushed_to, sink, speed_of
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "streams"
_STREAMS, _PAGES = 50, 10
_FASTEST = 45_000  # requests a second that are signed beforehand
_TIMEOUT = 120.0  # seconds
_WAYS = (("poll", 100), ("poll", 1000), ("stream", 100))
_RATE = "100000"  # requests a second that a token may send here
OPERATOR = Principal("bench", None, EVERY_SCOPE)


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for way, batch in _WAYS if scale.is_wide else _WAYS[::2]:
            name = f"HTTP, batches of {batch:,}" if way == "poll" else f"server-sent events, {batch} an acknowledgement"
            sheet.add(PART, f"pull, one connection: {name}", RELAY, await _pulled(way, scale.routed // 3, batch))
        for system in scale.measured(RELAY, FLOOR):
            is_watched = system == RELAY
            sheet.add(PART, "accept beside 50 streams", system, await _accepted(scale.seconds, is_watched=is_watched))
            sheet.add(PART, "push beside 50 streams", system, await _pushed(scale.pushed, is_watched=is_watched))


async def _pulled(way: str, count: int, batch: int) -> float:
    async with new_stage() as stage:
        await stage.fill_topic(count)
        async with api(stage) as (url, token):
            done = await output_of("tests.bench.api_clients", way, url, token, str(count), str(batch))
        pending = await stage.redis.xpending(KEYS.topic("everything"), "bench")
        assert pending["pending"] == 0, pending
    return count / float(done["seconds"])


async def _accepted(seconds: float, *, is_watched: bool) -> float:
    async with new_stage() as stage, stage.ingress(), stage.worker(), _watched(stage, is_watched=is_watched):
        outcome = await load(Order(stage.port, seconds, round(_FASTEST * (seconds + 0.5))))
    return outcome.rate


async def _pushed(deliveries: int, *, is_watched: bool) -> float:
    async with sink() as port, new_stage(pushed_to(f"http://127.0.0.1:{port}/")) as stage:
        await stage.fill_topic(deliveries)
        await stage.at_rest()
        async with _watched(stage, is_watched=is_watched), stage.worker() as worker:
            speed = await speed_of(worker, stage.delivered, deliveries, _TIMEOUT)
        await stage.lanes()
    return speed.rate


@asynccontextmanager
async def _watched(stage: Stage, *, is_watched: bool) -> AsyncIterator[None]:
    """Run the admin role; with `is_watched` fifty streams are open, and ten pages poll."""
    async with api(stage) as (url, token):
        if not is_watched:
            yield
            return
        arguments = ("watch", url, token, str(_STREAMS), str(_PAGES))

        async def ready() -> bool:
            clients = await stage.redis.client_list()
            return any(client["cmd"] == "xread" for client in clients)

        async with program("tests.bench.api_clients", *arguments, ready=ready):
            yield


def settings_of(stage: Stage) -> Settings:
    """Return the settings of a stage's services."""
    return Settings(redis_url=stage.url, relay_config=stage.rules_file)


@asynccontextmanager
async def api(stage: Stage) -> AsyncIterator[tuple[str, str]]:
    """Run the admin role; yield its URL and an operator's token."""
    async with open_context(settings_of(stage)) as context:
        token = await create_token(context, OPERATOR, "bench", team=None, scopes=EVERY_SCOPE)
    with reserved_port() as port:
        environment = {**stage.environment(), "RELAY_ADMIN_LISTEN": f"127.0.0.1:{port}", "RELAY_API_RATE": _RATE}
        async with program("relay", "admin", ready=answers(port, "/ready"), environment=environment):
            yield f"http://127.0.0.1:{port}", token.text
