"""The part of a pull group in the story of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from relay.consumer import consume
from relay.services.topics.history.pull import PullPart, PullState
from relay.services.topics.history.story import story
from tests.building import webhook_of
from tests.services.topics.history.conftest import OPERATOR
from tests.services.topics.history.test_story import accept, journey, route

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.driver.client import Redis


async def test_dead_letter_of_a_pull_group_is_told(redis: Redis, redis_url: str, context: Context) -> None:
    events = [webhook_of(event_id=str(uuid4())) for _ in range(3)]
    async with journey() as (_, rules):
        await accept(context, *events)
        await route(redis, rules)
    async with consume(redis_url, topic="messages", group="billing") as pulled:
        async for event in pulled:
            if event.id == events[1].id:
                await pulled.reject(event, "no such customer")
            if event.id == events[2].id:
                break
    stories = [await story(context, OPERATOR, event.id) for event in events[:2]]
    assert [part for told in stories for part in told.pull] == [
        PullPart("billing", "messages", PullState.ACKNOWLEDGED),
        PullPart("billing", "messages", PullState.DEAD, deliveries=1, reason="rejected: no such customer"),
    ]
