"""The line of an event, over any batches of any routers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from relay.core.event import Dialect
from relay.store.driver.client import Redis
from relay.store.inbox.chat_lines import Bounds, ChatLines, Sighting
from tests.building import CUSTOMER, LINE, OTHER_LINE
from tests.conftest import NOW
from tests.properties import quick
from tests.support import Clock

if TYPE_CHECKING:
    from relay.process.embedded_redis import Embedded


sightings = st.builds(
    Sighting,
    st.sampled_from(Dialect),
    st.sampled_from(["1", "2", "3", CUSTOMER]) | st.none(),
    st.sampled_from([LINE, OTHER_LINE]) | st.none(),
)


async def resolved(url: str, routers: list[list[list[Sighting]]]) -> list[str | None]:
    """Resolve the lines of events in batches, by one router after the other."""
    redis = Redis.from_url(url)
    await redis.flushall()
    chats = [ChatLines(redis, Clock(NOW), Bounds(cached=2)) for _ in range(2)]
    lines: list[str | None] = []
    for number, batches in enumerate(routers):
        one = chats[number % 2]
        await one.begin()
        for batch in batches:
            lines += await one.resolve(batch, f"token {number}")
    await redis.aclose()
    return lines


@quick
@given(st.lists(st.lists(st.lists(sightings, max_size=6), max_size=3), max_size=4))
def test_line_is_always_the_last_proved_for_the_chat(
    redis_server: Embedded, routers: list[list[list[Sighting]]]
) -> None:
    known: dict[tuple[Dialect, str], str] = {}
    expected = []
    for dialect, chat, line, _ in (one for batches in routers for batch in batches for one in batch):
        if chat and line:
            known[dialect, chat] = line
        expected.append(line or known.get((dialect, chat or "")))
    assert asyncio.run(resolved(redis_server.url, routers)) == expected
