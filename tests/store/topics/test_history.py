"""A topic's history between two times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.event_filter import EventFilter
from relay.store.topics.history import Extent, History, Span, Survey, id_at
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")
LINE = "+16465550123"


@pytest.fixture
async def history(redis: Redis) -> History:
    """Five events, a second after the other."""
    for n, kind in enumerate(
        ("message.received", "message.failed", "reaction.added", "message.received", "odd"), start=1
    ):
        await redis.xadd(STREAM, {"id": f"e{n}", "type": kind, "line": LINE if n % 2 else ""}, id=f"{n * 1000}-0")
    return History(redis, "support")


async def entries(history: History, span: Span) -> list[str]:
    return [entry for entry, _ in await history.read(span.after, span.end, 100)]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, ["1000-0", "2000-0", "3000-0", "4000-0", "5000-0"]),
        (2000, None, ["2000-0", "3000-0", "4000-0", "5000-0"]),
        (2000, 4000, ["2000-0", "3000-0"]),
        (None, 2000.0, ["1000-0"]),
        (4999.6, 9e12, ["5000-0"]),
        (2001, 2999, []),
        (6000, None, []),
        (None, 500, []),
    ],
)
async def test_span_includes_its_start_and_excludes_its_end(
    history: History, since: float | None, until: float | None, expected: list[str]
) -> None:
    assert await entries(history, await history.span(since, until)) == expected


async def test_span_does_not_grow(redis: Redis, history: History) -> None:
    span = await history.span(4000, None)
    await redis.xadd(STREAM, {"id": "later"})
    assert await entries(history, span) == ["4000-0", "5000-0"]
    assert span == Span(id_at(4000), "5000-0")


async def test_survey_counts_all_and_matching_events(history: History) -> None:
    span = await history.span(2000, 5000)
    assert await history.survey(span, EventFilter()) == Survey(span, 3, 3, 2000, 4000)
    assert (await history.survey(span, EventFilter("message.*"))).matching == 2
    assert (await history.survey(span, EventFilter(line=LINE))).matching == 1
    assert (await history.survey(span, EventFilter("message.*", LINE))).matching == 0
    nothing = await history.span(2001, 2002)
    assert await history.survey(nothing, EventFilter()) == Survey(nothing, 0, 0, None, None)


async def test_extent_reports_the_oldest_event(redis: Redis, history: History) -> None:
    assert await history.extent() == Extent(1000, is_whole=True)
    await redis.xtrim(STREAM, minid="3000-0", approximate=False)
    extent = await history.extent()
    assert extent == Extent(3000, is_whole=False)
    assert [extent.reaches(ms) for ms in (None, 2999, 3000)] == [False, False, True]
    await redis.xtrim(STREAM, maxlen=0, approximate=False)
    assert not (await history.extent()).reaches(9000)
    never_fed = await History(redis, "never fed").extent()
    assert never_fed == Extent(None, is_whole=True)
    assert never_fed.reaches(None)
