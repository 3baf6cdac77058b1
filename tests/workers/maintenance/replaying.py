"""Replays of a topic's history, by a replayer that runs again and again."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from relay.core.event_filter import EventFilter
from relay.process.timings import Timings
from relay.store import wakeups
from relay.store.driver.lease import acquire_lease
from relay.store.topics.history import History
from relay.store.topics.replays import Order, Replay, Replays, State
from tests.support import KEYS
from tests.workers.delivering import now_ms
from workers.maintenance.replayer import Replayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis


FAST = 10_000.0
TIMINGS = Timings(replay_tick=0.01, replay_pause=0.001)
REPLAY_STREAM = KEYS.lane("bot", "replay")


async def add(redis: Redis, event_id: str, kind: str = "message.received") -> None:
    fields = {"id": event_id, "type": kind, "at": "1789377302000", "version": "2026-02-03", "body": "{}"}
    await redis.xadd(redis.key.topic("everything"), fields)  # type: ignore[arg-type]


async def start(
    redis: Redis, *, to: str = "bot", history_filter: EventFilter | None = None, rate: float = FAST
) -> Replay:
    order, history = (
        Order("everything", to, history_filter or EventFilter(), rate, "ann@host"),
        History(redis, "everything"),
    )
    survey = await history.survey(await history.span(None, None), order.event_filter)
    return await Replays(redis).start(order, survey, now_ms())


async def state_of(redis: Redis, replay: Replay) -> Replay:
    found = await Replays(redis).get(replay.id)
    assert found is not None
    return found


async def has(redis: Redis, replay: Replay, state: State) -> bool:
    return (await state_of(redis, replay)).state is state


async def sent(redis: Redis) -> list[str]:
    """Return the event ids in bot's replay stream."""
    return [fields[b"id"].decode() for _, fields in await redis.xrange(redis.key.lane("bot", "replay"))]


@asynccontextmanager
async def replaying(
    redis: Redis, rules: ConfigFile, timings: Timings = TIMINGS, **sizes: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """Run the replay job, again and again."""
    replayer, stop = Replayer(redis, rules, time.time, timings, **sizes), asyncio.Event()

    async def work() -> None:
        async with acquire_lease(redis, wakeups.replay(redis.key).job_id) as lease:
            while not stop.is_set():
                await replayer.drain(lease, stop)
                await asyncio.sleep(0.005)

    task = asyncio.create_task(work())
    try:
        yield task
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)
