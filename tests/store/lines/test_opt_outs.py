"""The registry of opt-outs: in the order of the messages, whatever the order in which they arrive or are repeated."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from relay.store.driver.client import ask
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.isolation import is_wrong_type
from relay.store.lines.line_keys import LineKeys
from relay.store.lines.opt_outs import (
    OptOut,
    OptOutChange,
    count_opt_outs,
    erase_handle,
    list_opt_outs,
    opted_out_at,
    record_opt_outs,
)
from tests.building import CUSTOMER, LINE, OTHER_LINE

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

NOW = 1_789_377_302_417
STOP = OptOutChange(LINE, CUSTOMER, "stop", NOW)
START = OptOutChange(LINE, CUSTOMER, "start", NOW + 60_000)
AGAIN = OptOutChange(LINE, CUSTOMER, "stop", NOW + 120_000)


async def record(redis: Redis, *changes: OptOutChange) -> None:
    await record_opt_outs(redis, changes, redis.key.lease("route"), "token")


@pytest.mark.parametrize("order", [*permutations([STOP, START, AGAIN])], ids=lambda _: "")
async def test_newest_change_counts_in_any_order(redis: Redis, order: tuple[OptOutChange, ...]) -> None:
    await record(redis, *order)
    assert await opted_out_at(redis, LINE, CUSTOMER) == AGAIN.at_ms
    await record(redis, *order)  # by the successor of a killed router
    assert await opted_out_at(redis, LINE, CUSTOMER) == AGAIN.at_ms


async def test_start_ends_an_opt_out_of_its_line_only(redis: Redis) -> None:
    await record(redis, STOP, STOP._replace(line=OTHER_LINE), START, STOP)
    assert await opted_out_at(redis, LINE, CUSTOMER) is None
    assert await opted_out_at(redis, OTHER_LINE, f" {CUSTOMER} ") == NOW
    assert await count_opt_outs(redis, [LINE, OTHER_LINE]) == {LINE: 0, OTHER_LINE: 1}


async def test_start_without_a_stop_keeps_no_handle(redis: Redis) -> None:
    await record(redis, START)
    assert await redis.keys("relay:lines*") == []


async def test_list_is_in_the_order_of_time(redis: Redis) -> None:
    handles = [f"+1303555{number:04}" for number in range(30)]
    await record(redis, *(OptOutChange(LINE, handle, "stop", NOW + at) for at, handle in enumerate(handles)))
    first = await list_opt_outs(redis, LINE, 10)
    assert [each.handle for each in first] == handles[:10]
    await erase_handle(redis, handles[5])  # what leaves between two pages hides no other
    assert [each.handle for each in await list_opt_outs(redis, LINE, 15, first[-1])] == handles[10:25]
    assert await list_opt_outs(redis, LINE, 15, OptOut(handles[28], NOW + 28)) == [OptOut(handles[29], NOW + 29)]


async def test_erased_handle_leaves_nothing(redis: Redis) -> None:
    ann = "Ann@Example.com"
    await record(redis, STOP, START, STOP._replace(line=OTHER_LINE), OptOutChange(LINE, ann, "stop", NOW))
    assert await erase_handle(redis, CUSTOMER) == [LINE, OTHER_LINE]
    assert await list_opt_outs(redis, LINE, 9) == [OptOut("ann@example.com", NOW)]
    assert await erase_handle(redis, "ANN@example.com") == [LINE]
    assert [key.decode() for key in await redis.keys("relay:lines*")] == [LineKeys(redis).opted_out_lines]


async def test_router_without_the_lease_records_nothing(redis: Redis) -> None:
    await redis.set(redis.key.lease("route"), "another")
    with pytest.raises(LeaseLost):
        await record(redis, STOP)
    assert await opted_out_at(redis, LINE, CUSTOMER) is None


async def test_overwritten_key_is_left_as_it_is(redis: Redis) -> None:
    await ask(redis.set(LineKeys(redis).opt_ins(LINE), "x"))
    with pytest.raises(Exception, match="WRONGTYPE") as refused:
        await record(redis, STOP)
    assert is_wrong_type(refused.value)
    assert await count_opt_outs(redis, [LINE]) == {LINE: 0}
