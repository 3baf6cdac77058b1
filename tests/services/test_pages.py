"""Lists come in pages: a walk by cursors gives each item once, in order, and a page is bounded."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.delivery.outcome import Outcome
from relay.core.errors import Invalid
from relay.core.event_filter import EventFilter
from relay.services import page
from relay.services.account import audit
from relay.services.deliveries import attempts, dead_letters
from relay.services.deliveries.dead_letters import Choice, Progress
from relay.services.operators import quarantine
from relay.store.driver.merged_streams import Place
from relay.store.inbox.quarantine import Quarantine
from tests.cli.attempting import BAD, GOOD
from tests.services.conftest import CRM, OPERATOR
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.services.context import Context
    from relay.services.page import Page

LANES = ("crm-bot", "erp-bot", "own-bot")


async def letters(context: Context, *ids: tuple[str, str], **more: str) -> None:
    """Dead letters by lane and entry id."""
    for name, entry in ids:
        await context.redis.sadd(KEYS.lanes, name)  # type: ignore[misc]
        fields: Any = {"id": f"{name} {entry}", "type": "call.ended", "dead_at": entry.split("-")[0], **more}
        await context.redis.xadd(KEYS.lane(name, "dead"), fields, id=entry)


async def walk(search: Callable[[str | None], Awaitable[Page[Any]]], pages: int = 10_000) -> list[Any]:
    """All items, page by page."""
    found: list[Any] = []
    cursor = None
    for _ in range(pages):
        part = await search(cursor)
        found += part.items
        if (cursor := part.next) is None:
            return found
    raise AssertionError("the walk does not end")


@pytest.mark.parametrize("limit", [1, 2, 7, 500])
async def test_walk_gives_each_dead_letter_once_oldest_first(context: Context, limit: int) -> None:
    ids = [(LANES[number % 3], f"{number // 4 + 1}-0") for number in range(24)]  # also equal ids in several lanes
    ids = list(dict.fromkeys(ids))
    await letters(context, *sorted(ids, key=lambda each: (each[0], int(each[1][:-2]))))
    found = await walk(lambda cursor: dead_letters.search(context, OPERATOR, cursor=cursor, limit=limit))
    order = [(letter.subscription, letter.record.entry) for letter in found]
    assert order == sorted(ids, key=lambda each: (int(each[1][:-2]), each[0]))


async def test_walk_goes_on_while_items_come_and_go(context: Context) -> None:
    await letters(context, *(("crm-bot", f"{number}-0") for number in range(1, 10)))
    first = await dead_letters.search(context, CRM, limit=4)
    await context.redis.xdel(KEYS.lane("crm-bot", "dead"), "4-0", "5-0")  # also the one of the cursor
    await letters(context, ("crm-bot", "10-0"))
    rest = await walk(lambda cursor: dead_letters.search(context, CRM, cursor=cursor or first.next, limit=4))
    assert [letter.record.entry for letter in rest] == [f"{number}-0" for number in range(6, 11)]


async def test_attempts_are_newest_first_with_their_answers(context: Context) -> None:
    for number in range(1, 31):
        name, entry = LANES[number % 3], f"{number}-0"
        await context.redis.sadd(KEYS.lanes, name)  # type: ignore[misc]
        attempt = (BAD if number % 2 else GOOD)._replace(number=number)
        await context.redis.xadd(KEYS.lane(name, "attempts"), {"a": attempt.encode()}, id=entry)
        if number % 2:
            await context.redis.xadd(KEYS.lane(name, "answers"), {"a": f"answer {number}"}, id=entry)
    found = await walk(lambda cursor: attempts.search(context, OPERATOR, cursor=cursor, limit=4))
    assert [each.attempt.number for each in found] == list(range(30, 0, -1))
    which = EventFilter(outcomes={Outcome.FAILED})
    failed = await walk(lambda cursor: attempts.search(context, OPERATOR, which=which, cursor=cursor, limit=4))
    assert [each.detail for each in failed] == [f"answer {number}" for number in range(29, 0, -2)]
    own = await walk(lambda cursor: attempts.search(context, CRM, "crm-bot", cursor=cursor, limit=4))
    assert [each.attempt.number for each in own] == list(range(30, 0, -3))


async def test_audit_and_quarantine_are_walked(context: Context) -> None:
    for number in range(7):
        await context.record(OPERATOR if number % 2 else CRM, "test", str(number))
        await Quarantine(context.redis).put("v3", None, b"x", f"reason {number}", context.now_ms)
    found = await walk(lambda cursor: audit.search(context, OPERATOR, cursor=cursor, limit=3))
    assert [each.target for each in found] == list("6543210")
    own = await walk(lambda cursor: audit.search(context, CRM, cursor=cursor, limit=3))
    assert [each.target for each in own] == list("6420")
    cursors = [(await audit.search(context, CRM, limit=1)).next]
    while cursors[-1] is not None:
        cursors.append((await audit.search(context, CRM, cursor=cursors[-1], limit=1)).next)
    theirs = {each.id for each in found if each.team == "crm"}
    assert {
        place.id for cursor in cursors if (place := page.place_of(cursor))
    } < theirs  # a cursor tells of nothing else
    assert not (await audit.search(context, CRM, cursor=page.cursor_of(Place("99999999999999-0", "")))).next
    bodies = await walk(lambda cursor: quarantine.search(context, OPERATOR, cursor=cursor, limit=3))
    assert [each.reason[-1] for each in bodies] == list("0123456")
    assert await quarantine.get(context, OPERATOR, bodies[2].entry) == bodies[2]


async def test_page_looks_at_a_bounded_number_of_entries(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_EXAMINED", 10)
    await letters(context, *(("crm-bot", f"{number}-0") for number in range(1, 25)))
    await letters(context, ("crm-bot", "25-0"), dead_reason="rejected")
    which = EventFilter(reason="rejected")
    empty = await dead_letters.search(context, CRM, which=which)
    assert empty.items == ()
    assert empty.next is not None
    second = await dead_letters.search(context, CRM, which=which, cursor=empty.next)
    third = await dead_letters.search(context, CRM, which=which, cursor=second.next)
    assert [letter.record.entry for letter in third.items] == ["25-0"]
    assert third.next is None


async def test_search_from_a_time_skips_what_is_older(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_EXAMINED", 2)
    await letters(context, *(("crm-bot", f"{number * 100_000}-0") for number in range(1, 25)))
    found = await dead_letters.search(context, CRM, which=EventFilter(since_ms=2_300_000))
    assert [letter.at for letter in found.items] == [2_300_000, 2_400_000]


@pytest.mark.parametrize("text", ["", "x", "1", "1-x n", "-1-0 n", "99999999999999999999-0 n"])
async def test_cursor_that_is_none_is_invalid(context: Context, text: str) -> None:
    for cursor in (text, urlsafe_b64encode(text.encode()).decode(), f"{text}é"):
        with pytest.raises(Invalid, match="cursor"):
            await dead_letters.search(context, CRM, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, page.MAX_LIMIT + 1])
async def test_limit_is_bounded(context: Context, limit: int) -> None:
    with pytest.raises(Invalid, match="limit"):
        await attempts.search(context, CRM, limit=limit)


async def test_overwritten_lane_hides_no_other(context: Context) -> None:
    await letters(context, ("crm-bot", "1-0"), ("own-bot", "1-0"))
    await context.redis.set(KEYS.lane("crm-bot", "dead"), "x")
    assert [each.subscription for each in (await dead_letters.search(context, OPERATOR)).items] == ["own-bot"]


async def test_dead_letters_are_chosen_by_id_with_progress(context: Context) -> None:
    await letters(context, *(("crm-bot", f"{number}-0") for number in range(1, 151)))
    some = Choice("crm-bot", ids=["1-0", "2-0", "2-0", "999-0", "no id"])
    assert await dead_letters.replay(context, CRM, some, dry_run=True) == {"crm-bot": 2}
    assert await dead_letters.replay(context, CRM, some) == {"crm-bot": 2}
    told: list[Progress] = []
    assert await dead_letters.drop(context, CRM, Choice(), "test data", progress=told.append) == {"crm-bot": 148}
    assert told == [("crm-bot", 100, 148), ("crm-bot", 148, 148)]
    counts = [(each.command, each.count) for each in (await audit.search(context, CRM)).items]
    assert counts == [("dead drop", 148), ("dead replay", 2)]
    with pytest.raises(Invalid, match="subscription"):
        await dead_letters.drop(context, CRM, Choice(ids=["1-0"]), "x")
