from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import Invalid, NotFound
from relay.services.topics.events import EventQuery, tail
from relay.store.topics.stream_search import Condition, Kind, meets, step
from tests.building import CUSTOMER, LINE, OTHER_LINE
from tests.services.topics.history.conftest import OPERATOR, TEAM, put
from tests.support import KEYS
from tests.workers.delivering import now_ms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any

    from relay.services.context import Context
    from relay.store.driver.client import Redis


async def following(events: AsyncGenerator[Any], count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(10), aclosing(events):
        async for event in events:
            found.append(event.id)
            if len(found) == count:
                break
    return found


async def test_tail_yields_matching_events_from_now_on(redis: Redis, context: Context) -> None:
    now = now_ms()
    await put(redis, "messages", "before", now - 1000)
    query = EventQuery(handle=CUSTOMER, event_type="message.*", line=LINE)
    events: Any = tail(context, OPERATOR, "messages", query)
    task = asyncio.create_task(following(events, 2))

    async def is_reading() -> bool:
        return any(client["cmd"].startswith("xread") for client in await redis.client_list())

    while not await is_reading():
        await asyncio.sleep(0.01)
    for n, more in enumerate(({}, {"line": OTHER_LINE}, {"handle": "x@example.com"}, {"type": "odd"}, {})):
        await put(redis, "messages", f"e{n}", now + n, **more)
    assert await task == ["e0", "e4"]


async def test_tail_begins_at_a_time_in_the_past(redis: Redis, context: Context) -> None:
    now = now_ms()
    for n in range(4):
        await put(redis, "messages", f"e{n}", now - 4000 + n * 1000)
    events: Any = tail(context, TEAM, "messages", EventQuery(since_ms=now - 2000))
    assert await following(events, 2) == ["e2", "e3"]


async def test_tail_of_an_unseen_topic_or_a_wrong_query_is_refused(context: Context) -> None:
    refused: Any
    for refused in (tail(context, TEAM, "everything"), tail(context, OPERATOR, "none")):
        with pytest.raises(NotFound):
            await anext(refused)
    refused = tail(context, OPERATOR, "messages", EventQuery(line="12"))
    with pytest.raises(Invalid):
        await anext(refused)


@pytest.mark.parametrize("kind", list(Kind))
async def test_redis_and_python_judge_conditions_alike(redis: Redis, kind: Kind) -> None:
    values = [b"", b"a", b"A\x00b" * 9, b"xA\x00b" * 9, bytes(range(16)) + b"text", b"some text", b"[a.b*c]%d"]
    wanted = [b"a", b"a\x00b", b"A\x00b" * 9, bytes(range(16)) + b"text", b".b*c]%d", b"(" * 17]
    for value in values:
        await redis.xadd(KEYS.topic("t"), {"f": value})
    await redis.xadd(KEYS.topic("t"), {"g": "a"})
    rows = await redis.xrange(KEYS.topic("t"))
    for want in wanted:
        condition = Condition("f", kind, want)
        read = await step(redis, KEYS.topic("t"), "-", "+", [condition], backwards=False)
        assert [found.entry.encode() for found in read.found] == [
            entry for entry, fields in rows if meets(fields, condition)
        ]
        assert read.is_end
