"""Two relays with prefixes of their own in one Redis: neither touches a key of the other."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from relay.config.settings import Settings
from relay.consumer import consume
from relay.core.event_filter import EventFilter
from relay.parts import open_store
from relay.store.ledger.ledger import Ledger
from relay.store.topics.history import History
from relay.store.topics.replays import Order, Replays
from tests.building import webhook_of
from tests.support import eventually
from tests.workers.conftest import accept, rules_for
from tests.workers.runtime.test_runner import worker

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink

ARQ = ("arq:job:", "arq:in-progress:", "arq:retry:", "arq:result:")
PREFIXES = ("one", "one.two")
"""The first is the beginning of the second."""


def is_of(prefix: str, key: str) -> bool:
    return key.startswith((f"{prefix}:", *(f"{kind}{prefix}:" for kind in ARQ)))


async def use(redis: Redis, redis_url: str, prefix: str, sink: Sink) -> None:
    """Have a relay route, deliver and replay three events, and pull one."""
    bot, crm = f"/{prefix}/bot", f"/{prefix}/crm"
    events = [webhook_of() for _ in range(3)]
    await accept(redis, *events)
    await eventually(lambda: len(sink.ids(bot)) == len(sink.ids(crm)) == 3)
    history = History(redis, "messages")
    survey = await history.survey(await history.span(None, None), EventFilter())
    await Replays(redis).start(Order("messages", "bot", EventFilter(), 100, "ann"), survey, 1)
    await eventually(lambda: len(sink.ids(bot)) == 6)
    async with consume(redis_url, topic="messages", group="team", key_prefix=prefix) as team:
        assert (await anext(team)).id == events[0].id
    assert {*sink.ids(bot), *sink.ids(crm)} == {event.id for event in events}

    async def settled() -> bool:
        return [lane.delivered for lane in await Ledger(redis).lanes()] == [6, 3]

    await eventually(settled)
    assert all(lane.balances for lane in await Ledger(redis).lanes())


async def test_two_relays_share_a_redis(redis: Redis, redis_url: str, sink: Sink, tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            stores = {}
            for prefix in PREFIXES:
                rules = tmp_path / prefix
                rules.write_text(rules_for(sink).replace(sink.url, f"{sink.url}/{prefix}"))
                settings = Settings(redis_url=redis_url, relay_key_prefix=prefix, relay_config=rules)
                await stack.enter_async_context(worker(settings))
                stores[prefix] = await stack.enter_async_context(open_store(settings))
            for prefix, store in stores.items():
                await use(store, redis_url, prefix, sink)
    found = [key.decode() for key in await redis.keys()]
    for prefix in PREFIXES:
        assert f"{prefix}:inbox" in found
    assert [key for key in found if not any(is_of(prefix, key) for prefix in PREFIXES)] == []
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []
