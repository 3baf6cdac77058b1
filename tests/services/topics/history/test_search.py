from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.errors import Forbidden, Invalid, NotFound
from relay.services.topics.history.search import EventQuery, search
from relay.store.topics import stream_search
from tests.building import CUSTOMER, LINE, OTHER_LINE
from tests.services.topics.history.conftest import OPERATOR, TEAM, hiding, put

if TYPE_CHECKING:
    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.driver.client import Redis

T = 1_789_377_302_000


async def ids(context: Context, query: EventQuery, principal: Principal = OPERATOR) -> list[str]:
    return [event.id for event in (await search(context, principal, query)).events]


async def all_pages(context: Context, query: EventQuery, limit: int, seconds: float | None = 0.0) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        found = await search(context, OPERATOR, query, cursor, limit, seconds=seconds)
        pages.append([event.id for event in found.events])
        if (cursor := found.cursor) is None:
            return pages
        assert len(pages) < 1000


@pytest.fixture
async def events(redis: Redis) -> None:
    await put(redis, "messages", "a", T, message="m1")
    await put(redis, "everything", "a", T, message="m1")
    await put(redis, "messages", "b", T + 1, handle="Ann@Example.com", line=OTHER_LINE)
    await put(redis, "everything", "c", T + 2, type="reaction.added", chat="c2")


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (EventQuery(), ["c", "b", "a"]),
        (EventQuery(handle="ann@example.COM"), ["b"]),
        (EventQuery(handle="+1 (303) 555-0188"), ["c", "a"]),
        (EventQuery(handle=CUSTOMER[:-1]), []),
        (EventQuery(chat="c2"), ["c"]),
        (EventQuery(message="m1"), ["a"]),
        (EventQuery(line=LINE), ["c", "a"]),
        (EventQuery(event_type="message.*"), ["b", "a"]),
        (EventQuery(event_type="reaction.added", line=LINE), ["c"]),
        (EventQuery(event_type="*", topic="messages"), ["b", "a"]),
        (EventQuery(since_ms=T + 1), ["c", "b"]),
        (EventQuery(since_ms=T + 1, until_ms=T + 2), ["b"]),
    ],
)
async def test_events_are_found_by_each_criterion(context: Context, query: EventQuery, expected: list[str]) -> None:
    assert await ids(context, query) == expected
    found = await search(context, OPERATOR, query, seconds=None)
    assert (found.cursor, found.searched_to_ms) == (None, None)


@pytest.mark.usefixtures("events")
async def test_event_of_several_topics_is_found_once_with_its_places(context: Context) -> None:
    [event] = (await search(context, OPERATOR, EventQuery(message="m1"))).events
    assert {(place.topic, place.at_ms) for place in event.places} == {("messages", T), ("everything", T)}
    assert event.body.text is not None
    assert CUSTOMER in event.body.text
    [hidden] = (await search(hiding(context), OPERATOR, EventQuery(message="m1"))).events
    assert (hidden.body.text, hidden.body.size) == (None, event.body.size)


@pytest.mark.usefixtures("events")
async def test_team_finds_only_events_of_its_topics(context: Context) -> None:
    assert await ids(context, EventQuery(), TEAM) == ["b", "a"]
    with pytest.raises(NotFound, match=r'no topic "everything" \(known: messages\)'):
        await search(context, TEAM, EventQuery(topic="everything"))


@pytest.mark.parametrize("limit", [1, 3, 50])
@pytest.mark.parametrize("seconds", [0.0, None])
async def test_pages_have_each_event_once_newest_first(
    redis: Redis, context: Context, monkeypatch: pytest.MonkeyPatch, limit: int, seconds: float | None
) -> None:
    monkeypatch.setattr(stream_search, "PAGE", 3)
    expected = []
    for n in range(40):
        at = T + n // 4  # four in a millisecond
        for topic in ("messages", "everything")[n % 2 :]:
            await put(redis, topic, f"e{n}", at, handle=CUSTOMER if n % 3 else "x@example.com")
        if n % 3:
            expected.append(f"e{n}")
    pages = await all_pages(context, EventQuery(handle=CUSTOMER), limit, seconds)
    found = [event for page in pages for event in page]
    assert sorted(found) == sorted(expected)
    assert [int(event[1:]) // 4 for event in found] == sorted((int(event[1:]) // 4 for event in found), reverse=True)
    assert max(map(len, pages)) <= limit


async def test_search_says_how_far_it_came_and_tells_its_progress(
    redis: Redis, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_search, "PAGE", 5)
    for n in range(20):
        await put(redis, "messages", f"e{n}", T + n)
    steps: list[int] = []
    nothing = EventQuery(chat="elsewhere")
    found = await search(context, OPERATOR, nothing, seconds=0, progress=lambda now: steps.append(now.reached_ms))
    assert (found.events, found.entries, found.searched_to_ms) == ((), 5, T + 16)
    assert steps == [T + 16]
    rest = await search(context, OPERATOR, nothing, found.cursor, seconds=None)
    assert (rest.entries, rest.cursor) == (16, None)  # the last one again: others may have been added beside it


async def test_wrong_criteria_are_named_together(context: Context) -> None:
    query = EventQuery(handle="ann", line="12", event_type="*.x", since_ms=2, until_ms=1)
    with pytest.raises(Invalid) as caught:
        await search(context, OPERATOR, query)
    assert [problem.place for problem in caught.value.problems] == ["handle", "line", "type", "since"]
    for cursor in ("", "x", "1-2-3", "-1"):
        with pytest.raises(Invalid, match="cursor"):
            await search(context, OPERATOR, EventQuery(), cursor)
    with pytest.raises(Invalid, match="limit"):
        await search(context, OPERATOR, EventQuery(), limit=0)


async def test_search_needs_the_scope_to_read(context: Context) -> None:
    powerless = OPERATOR.__class__("carol", None, frozenset())
    with pytest.raises(Forbidden):
        await search(context, powerless, EventQuery())
