"""The dead letter in an event's story, beside many younger ones."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

from relay.services.topics.history.push import PushState
from relay.services.topics.history.story import story
from tests.building import webhook_of
from tests.services.topics.history.conftest import OPERATOR
from tests.services.topics.history.test_story import accept, are_dead, journey, route
from tests.support import KEYS, eventually
from tests.workers.delivering import delivering

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.services.topics.history.story import EventStory
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received

YOUNGER = 2_000


async def test_letter_is_found_without_reading_the_younger_ones(redis: Redis, context: Context) -> None:
    event = await a_dead_event(redis, context)
    told, pages = await read(redis, context, event)
    assert (told.push[0].state, told.push[0].notes) == (PushState.DEAD, ())
    async with redis.pipeline() as pipe:
        for number in range(YOUNGER):
            pipe.xadd(KEYS.lane("bot", "dead"), {"id": f"younger-{number}", "dead_reason": "rejected"})
        await pipe.execute()
    again, pages_beside_others = await read(redis, context, event)
    assert (again.push, pages_beside_others) == (told.push, pages)


async def test_letter_whose_attempt_is_not_kept_is_found_by_a_search(redis: Redis, context: Context) -> None:
    event = await a_dead_event(redis, context)
    await redis.delete(KEYS.lane("bot", "attempts"))
    told, _ = await read(redis, context, event)
    assert (told.push[0].state, told.push[0].attempts) == (PushState.DEAD, ())


async def a_dead_event(redis: Redis, context: Context) -> str:
    """Let an event become a dead letter of the subscription `bot`; return its id."""

    async def answer(received: Received) -> web.Response:
        return web.Response(status=200 if received.path == "/crm" else 500)

    event = webhook_of(event_id=str(uuid4()))
    async with journey() as (sink, rules):
        sink.answer = answer
        await accept(context, event)
        await route(redis, rules)
        async with delivering(redis, rules):
            await eventually(are_dead(redis, "bot", 1))
    return event.id


async def read(redis: Redis, context: Context, event: str) -> tuple[EventStory, int]:
    """Return the story of an event, and the number of ranges of entries that were read for it."""
    await redis.config_resetstat()
    told = await story(context, OPERATOR, event, seconds=None)
    return told, (await redis.info("commandstats"))["cmdstat_xrange"]["calls"]
