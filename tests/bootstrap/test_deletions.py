"""Deletions at Linq: never because of one short list, and only as far as several looks or the operator agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from relay.bootstrap.deletions import Approval
from relay.core.errors import LinqApiError
from tests.bootstrap.bench import LINES_ONLY, SUBSCRIPTIONS, TOPICS, Bench, actions, bench_of
from tests.sandbox.running import LINE, LINES, OTHER_LINE, THIRD_LINE
from tests.support import KEYS

if TYPE_CHECKING:
    from tests.support import Clock

APART = 300.0


def listing_only(path: str, field: str, keep: Any) -> Any:
    """Return an interceptor that answers GET `path` with the rows of `field` for which `keep` is true."""

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET" or not request.path.endswith(path):
            return None
        rows = LISTS[path](request)
        return web.json_response({field: [row for row in rows if keep(row)]})

    return intercept


LISTS: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def lists(bench: Bench) -> None:
    """The whole lists of the sandbox, from which an interceptor leaves rows out."""
    state = bench.sandbox.sandbox.state
    LISTS["/phone_numbers"] = lambda _: state.phone_numbers()
    LISTS["/webhook-subscriptions"] = lambda _: [each.as_json() for each in state.subscriptions.values()]


def deleted(bench: Bench) -> list[str]:
    return [call for call in bench.sandbox.calls if call.startswith("DELETE")]


async def looks(bench: Bench, clock: Clock, count: int) -> list[str]:
    """Apply as the scheduled check does, `count` times; return the deletions."""
    for _ in range(count):
        clock.now += APART
        await bench.reconciler.apply(lambda _: None, approval=Approval.SCHEDULED)
    return deleted(bench)


def lists_only(*lines: str) -> Any:
    return listing_only("/phone_numbers", "phone_numbers", lambda row: row["phone_number"] in lines)


async def test_one_short_list_of_lines_deletes_nothing(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    bench.sandbox.intercept = lists_only(LINE, OTHER_LINE)
    assert await looks(bench, clock, 2) == []
    bench.sandbox.intercept = None
    assert await looks(bench, clock, 1) == []
    bench.sandbox.intercept = lists_only(LINE, OTHER_LINE)
    assert await looks(bench, clock, 2) == []  # the looks before no longer count
    assert len(await looks(bench, clock, 1)) == 1


async def test_looks_without_time_between_are_one_look(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    bench.sandbox.sandbox.state.lines.remove(THIRD_LINE)
    for _ in range(5):
        clock.now += 1
        await bench.reconciler.apply(lambda _: None, approval=Approval.SCHEDULED)
    assert deleted(bench) == []


async def test_list_that_shrank_much_is_left_to_the_operator(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    del bench.sandbox.sandbox.state.lines[1:]
    assert await looks(bench, clock, 5) == []
    held = [step for step in await bench.plan() if step.action == "hold"]
    assert [step.line for step in held] == [OTHER_LINE, THIRD_LINE]
    assert all("2 of 3 lines" in step.reason and "--allow-delete" in step.reason for step in held)
    await bench.reconciler.apply(lambda _: None, approval=Approval.DELETIONS)
    assert len(deleted(bench)) == 2


async def test_apply_holds_a_line_that_is_not_listed(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    bench.sandbox.sandbox.state.lines.remove(THIRD_LINE)
    assert ("hold", THIRD_LINE, 1, True) in actions(await bench.apply())
    for _ in range(2):
        clock.now += APART
        await bench.apply()
    assert len(deleted(bench)) == 1  # three looks


@pytest.mark.parametrize("choice", [f'exclude = ["{THIRD_LINE}"]', f'lines = ["{LINE}", "{OTHER_LINE}"]'])
async def test_line_that_relay_toml_excludes_is_deleted_by_apply(bench: Bench, clock: Clock, choice: str) -> None:
    await bench.apply()
    other = bench_of(bench.sandbox, bench.redis, clock, f"{LINES_ONLY}{choice}\n{TOPICS}")
    assert await looks(other, clock, 2) == []  # unattended: three looks
    assert ("delete", THIRD_LINE, 1, True) in actions(await other.apply())


async def test_scheduled_check_keeps_a_replaced_one_for_a_while(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    await bench.redis.delete(KEYS.keyring)
    assert await looks(bench, clock, 2) == []
    assert len(bench.at_linq()) == 2 * len(LINES)
    assert len(await looks(bench, clock, 1)) == len(LINES)
    assert set(bench.at_linq().values()) == {await bench.url(line, 2) for line in LINES}


# --- Lists of subscriptions and event types that come back short ----------------------------------------


async def test_subscription_left_out_of_the_list_is_an_error(bench: Bench) -> None:
    await bench.apply()
    before = await bench.keyring.records()
    left_out = next(iter(bench.at_linq()))
    bench.sandbox.intercept = listing_only("/webhook-subscriptions", "subscriptions", lambda row: row["id"] != left_out)
    bench.sandbox.calls.clear()
    with pytest.raises(LinqApiError, match=r"left out 1 .*exist"):
        await bench.apply()
    assert bench.sandbox.changes == []
    assert await bench.keyring.records() == before


async def test_event_types_left_out_of_the_list_stay_subscribed(bench: Bench) -> None:
    await bench.apply()
    before = {each.id: set(each.events) for each in bench.sandbox.sandbox.state.subscriptions.values()}

    async def fewer_types(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"events": ["message.received"]}) if "webhook-events" in request.path else None

    bench.sandbox.intercept = fewer_types
    assert {action for action, *_ in actions(await bench.apply())} == {"keep"}
    next(iter(bench.sandbox.sandbox.state.subscriptions.values())).is_active = False
    assert ("update", LINE, 1, True) in actions(await bench.apply())
    assert {each.id: set(each.events) for each in bench.sandbox.sandbox.state.subscriptions.values()} == before


async def test_list_without_any_type_of_lines_deletes_nothing(bench: Bench, clock: Clock) -> None:
    other = bench_of(bench.sandbox, bench.redis, clock, '[[topics]]\nname = "all"\nevents = ["*"]\n')
    await other.apply()
    bench.sandbox.calls.clear()

    async def other_types(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"events": ["team_member.added"]}) if "webhook-events" in request.path else None

    bench.sandbox.intercept = other_types
    with pytest.raises(LinqApiError, match="no event type of lines"):
        await other.apply()
    assert bench.sandbox.changes == []


# --- Pages --------------------------------------------------------------------------------------------


def in_pages(bench: Bench, *, fails: bool = False, endless: bool = False) -> Any:
    """Return an interceptor that lists one subscription a page, with a cursor."""

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET" or request.path != f"/api/partner{SUBSCRIPTIONS}":
            return None
        at = int(request.query.get("cursor", "0"))
        if fails and at == 2:
            return web.json_response({"error": {"message": "Bad cursor"}}, status=400)
        rows = [each.as_json() for each in bench.sandbox.sandbox.state.subscriptions.values()]
        following = "1" if endless else str(at + 1)
        more = {"next_cursor": following if endless or at + 1 < len(rows) else None}
        return web.json_response({"subscriptions": rows[at : at + 1], **more})

    return intercept


async def test_every_page_of_a_list_is_read(bench: Bench) -> None:
    await bench.apply()
    bench.sandbox.intercept = in_pages(bench)
    assert {action for action, *_ in actions(await bench.apply())} == {"keep"}


@pytest.mark.parametrize("how", ["fails", "endless"])
async def test_list_is_complete_or_an_error(bench: Bench, how: str) -> None:
    await bench.apply()
    bench.sandbox.intercept = in_pages(bench, **{how: True})
    bench.sandbox.calls.clear()
    with pytest.raises(LinqApiError, match="listing webhook subscriptions"):
        await bench.apply()
    assert bench.sandbox.changes == []


async def test_further_page_without_a_cursor_is_an_error(bench: Bench) -> None:
    await bench.apply()

    async def more(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith("/phone_numbers"):
            return None
        return web.json_response({"phone_numbers": bench.sandbox.sandbox.state.phone_numbers(), "has_more": True})

    bench.sandbox.intercept = more
    with pytest.raises(LinqApiError, match=r"listing phone numbers.*another page"):
        await bench.apply()
