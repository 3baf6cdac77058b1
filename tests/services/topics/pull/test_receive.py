from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.core.access.principal import Principal
from relay.core.access.scopes import Scope
from relay.core.errors import Forbidden, Invalid, NotFound, TooMany
from relay.services.topics.pull.receive import batches, receive
from relay.services.topics.pull.request import Request
from relay.services.topics.pull.settle import acknowledge, acknowledge_runs, extend, release, runs_of
from relay.store.keys import GroupName
from relay.store.topics.pull.group import MAX_PENDING, consumer_of
from tests.services.topics.pull.reading import CRM, OPERATOR, STREAM, feed, ids, receipts
from tests.support import TIMEOUT, eventually, fill_stream

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from relay.store.topics.pull.arrivals import Arrivals

GROUP = GroupName("support", "crm")
READ = Request(*GROUP)


async def test_killed_readers_events_come_to_the_next_in_order(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a", "b", "c")
    killed = await receive(context, arrivals, CRM, Request(*GROUP, member="one", limit=2, visibility=1))
    first, last = receipts(killed)
    assert (ids(killed), killed.state) == (["a", "b"], "created")
    assert killed.cursor == f"{first.removesuffix('.1')}_{last}"
    assert ids(await receive(context, arrivals, CRM, Request(*GROUP, member="two", limit=1))) == ["c"]
    next_one = await receive(context, arrivals, CRM, Request(*GROUP, member="two", wait=20))
    assert (ids(next_one), [event.deliveries for event in next_one.events]) == (["a", "b"], [2, 2])


async def test_long_poll_returns_as_soon_as_an_event_comes(context: Context, arrivals: Arrivals) -> None:
    polls = [
        asyncio.create_task(receive(context, arrivals, OPERATOR, Request("support", f"g{number}", wait=20)))
        for number in range(50)
    ]
    await eventually(lambda: _groups(context.redis, 50))
    connections = len(await context.redis.client_list())
    await feed(context.redis, "a")
    assert all(ids(batch) == ["a"] for batch in await asyncio.gather(*polls))
    assert connections < 60  # those of short reads at the same moment; none waits in Redis for a poll


async def _groups(redis: Redis, count: int) -> bool:
    return bool(await redis.exists(STREAM)) and len(await redis.xinfo_groups(STREAM)) == count


async def test_poll_without_events_ends_after_its_wait(context: Context, arrivals: Arrivals) -> None:
    batch = await receive(context, arrivals, CRM, READ)
    assert (batch.events, batch.cursor, batch.state) == ([], None, "created")
    assert (await receive(context, arrivals, CRM, Request(*GROUP, wait=0.05))).has_news is False


async def test_nothing_is_delivered_to_a_reader_that_has_gone(context: Context, arrivals: Arrivals) -> None:
    await receive(context, arrivals, CRM, READ)
    gone = asyncio.Event()
    poll = asyncio.create_task(receive(context, arrivals, CRM, Request(*GROUP, wait=20), gone.is_set))
    await asyncio.sleep(0)
    gone.set()
    assert (await asyncio.wait_for(poll, 15)).events == []


async def test_batch_of_a_thousand_then_acknowledged_by_its_cursor(context: Context, arrivals: Arrivals) -> None:
    async with context.redis.pipeline(transaction=False) as pipe:
        for number in range(1100):
            pipe.xadd(STREAM, {"id": f"e{number}", "type": "x", "body": "{}"})
        await pipe.execute()
    batch = await receive(context, arrivals, CRM, Request(*GROUP, limit=1000))
    assert ids(batch) == [f"e{number}" for number in range(1000)]
    assert batch.cursor is not None
    settled = await acknowledge_runs(context, arrivals, CRM, GROUP, "http", runs_of(batch.cursor, "up_to"))
    assert settled.done == 1000
    rest = await receive(context, arrivals, CRM, Request(*GROUP, limit=1000))
    assert (len(rest.events), rest.pending) == (100, 100)


async def test_settling_names_events_that_were_taken_over(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a", "b")
    batch = await receive(context, arrivals, CRM, READ)
    a, b = receipts(batch)
    assert (await acknowledge(context, arrivals, CRM, GROUP, [a, "1-1.1"])).done == 1
    assert (await extend(context, CRM, GROUP, [a, b], 3600)).not_done == [a]
    assert (await release(context, arrivals, CRM, GROUP, [a, b])).not_done == [a]
    assert ids(await receive(context, arrivals, CRM, Request(*GROUP, member="other"))) == ["b"]


async def test_released_events_wake_a_waiting_poll(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a")
    batch = await receive(context, arrivals, CRM, READ)
    poll = asyncio.create_task(receive(context, arrivals, CRM, Request(*GROUP, member="two", wait=20)))
    await release(context, arrivals, CRM, GROUP, receipts(batch))
    assert ids(await asyncio.wait_for(poll, 15)) == ["a"]


async def test_group_deleted_meanwhile_resumes_and_says_so(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a", "b")
    batch = await receive(context, arrivals, CRM, Request(*GROUP, limit=1))
    await context.redis.xgroup_destroy(STREAM, "crm")
    with pytest.raises(NotFound, match='topic "support" has no group "crm"; the next receive makes it'):
        await acknowledge(context, arrivals, CRM, GROUP, receipts(batch))
    again = await receive(context, arrivals, CRM, READ)
    assert (again.state, ids(again)) == ("restored", ["a", "b"])


async def test_batches_go_on_as_the_reader_acknowledges(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a", "b", "c")
    stream = batches(context, arrivals, CRM, Request(*GROUP, held=2))
    first = await anext(stream)
    following = asyncio.ensure_future(anext(stream))
    await acknowledge(context, arrivals, CRM, GROUP, receipts(first)[:1])
    assert (ids(first), ids(await asyncio.wait_for(following, TIMEOUT))) == (["a", "b"], ["c"])


async def test_group_with_too_many_pending_events_says_so(context: Context, arrivals: Arrivals) -> None:
    await fill_stream(context.redis, STREAM, MAX_PENDING)
    await context.redis.xgroup_create(STREAM, "crm", "0")
    await context.redis.xreadgroup("crm", consumer_of("http", 60), {STREAM: ">"}, count=MAX_PENDING)
    with pytest.raises(TooMany, match="10000 events of the group"):
        await receive(context, arrivals, CRM, Request(*GROUP, wait=1))


@pytest.mark.parametrize("group", ["other", "crmx", "crm2.x", "push:crm"])
async def test_team_has_groups_of_its_own_name_only(context: Context, arrivals: Arrivals, group: str) -> None:
    with pytest.raises(NotFound, match=r'its groups are named "crm" or "crm\."'):
        await receive(context, arrivals, CRM, Request("support", group))
    assert (await receive(context, arrivals, CRM, Request("support", "crm.worker"))).state == "created"


async def test_topic_of_others_is_like_one_that_does_not_exist(context: Context, arrivals: Arrivals) -> None:
    for topic in ("sales", "suport"):
        with pytest.raises(NotFound, match=rf'no topic "{topic}" \(known: support\)'):
            await receive(context, arrivals, CRM, Request(topic, "crm"))
    reader = Principal("r", "crm", frozenset({Scope.READ}), CRM.topics)
    with pytest.raises(Forbidden, match="subscribe"):
        await receive(context, arrivals, reader, READ)


async def test_mistakes_are_listed_together(context: Context, arrivals: Arrivals) -> None:
    wrong = Request("support", "crm", "a b", 0, 31, 0.5, "yesterday")
    with pytest.raises(Invalid) as error:
        await receive(context, arrivals, CRM, wrong)
    assert [problem.place for problem in error.value.problems] == ["limit", "wait", "visibility", "start", "member"]
    with pytest.raises(Invalid, match='"push:" are the relay\'s own'):
        await receive(context, arrivals, OPERATOR, Request("support", "push:bot"))
    with pytest.raises(Invalid, match=r'receipts\[1\]: "x" is not a receipt'):
        await acknowledge(context, arrivals, CRM, GROUP, ["1-1.1", "x"])
