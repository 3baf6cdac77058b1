"""Pull groups of a relay with four shards: each is one group for people, moved and deleted as a whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.errors import Conflict, Forbidden, Invalid, NotFound
from relay.core.event_filter import EventFilter
from relay.doctor.group_checks import examine_groups
from relay.services.topics import groups
from relay.services.topics.groups import Target
from relay.services.topics.pull import dead_letters
from relay.services.topics.pull.dead_letters import Choice
from relay.services.topics.pull.receive import receive
from relay.services.topics.pull.request import Request
from relay.services.topics.pull.settle import acknowledge, reject
from relay.services.topics.pull.states import groups_left, oldest_pending
from relay.store.keys import GroupName
from relay.store.state.reading import read_state
from relay.store.state.unread import NOT_READ_AFTER_MS
from relay.store.topics.pull.dead_letters import GroupLetters
from relay.store.topics.registry import register_topics
from tests.services.topics.pull.reading import CRM, OPERATOR, feed, feed_at, ids, receipts

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.services.topics.pull.states import PullGroup
    from relay.store.driver.client import Redis
    from relay.store.sharding.shards import Shards
    from relay.store.topics.pull.arrivals import Arrivals
    from relay.store.topics.pull.dead_letters import GroupLetter

GROUP = GroupName("support", "crm")
READ = Request(*GROUP)


def stream_of(shard: Redis) -> str:
    return shard.key.topic("support")


async def position_on(shard: Redis, group: str = "crm") -> str:
    rows: Any = await shard.xinfo_groups(stream_of(shard))
    return str(next(row["last-delivered-id"] for row in rows if row["name"] == group.encode()).decode())


async def group_of(whole: Context) -> PullGroup:
    return await groups.get_group(whole, OPERATOR, *GROUP)


@pytest.fixture
async def read(whole: Context, whole_arrivals: Arrivals, shards: Shards) -> Context:
    """A group that has read, on shard n, the events of 1000 and 2000 + n, and acknowledged the first of them."""
    for number, shard in enumerate(shards.all):
        await register_topics(shard, ["support"])
        await feed_at(shard, **{f"a{number}": 1000, f"b{number}": 2000 + number})
    batch = await receive(whole, whole_arrivals, CRM, READ)
    handled = [str(event.receipt) for event in batch.events if event.record.id.startswith("a")]
    await acknowledge(whole, whole_arrivals, CRM, GROUP, handled)
    return whole


async def test_group_is_one_with_the_sums_of_its_parts(read: Context, shards: Shards) -> None:
    await feed_at(shards.all[1], c1=2500, d1=3000)
    await feed_at(shards.all[3], c3=2400)
    [group] = await groups.list_groups(read, CRM)
    assert (group.topic, group.name, group.lag, group.pending, group.dead) == ("support", "crm", 3, 4, 0)
    assert (group.position, group.position_ms, group.unread_since_ms) == ("2003-0.3", 2003, 2400)
    [member] = group.members
    assert (member.name, member.pending, member.kind) == ("relay:http:60000:http", 4, "http")
    oldest = await oldest_pending(read, OPERATOR, group)
    assert oldest is not None
    assert (oldest.entry, oldest.deliveries) == ("2000-0", 1)
    assert await groups_left(read, "crm") == [GROUP]


async def test_shard_that_no_member_reads_shows(read: Context, shards: Shards) -> None:
    """Such as by a program that knows the first shard only."""
    for number, shard in enumerate(shards.all):
        await shard.xgroup_create(stream_of(shard), "old", "0")
        if number == 0:
            rows: Any = await shard.xreadgroup("old", "host-1", {stream_of(shard): ">"})
            await shard.xack(stream_of(shard), "old", *(entry for entry, _ in rows[0][1]))
    group = await groups.get_group(read, OPERATOR, "support", "old")
    assert (group.lag, group.idle_ms, group.is_not_read(NOT_READ_AFTER_MS + 5000)) == (6, None, True)
    found = {each.area: each.what for each in await examine_groups(read.redis, await read.config(), "x", time.time())}
    assert "not read: 6 unread, 0 pending, and it has no member" in found["pull group support/old"]


async def test_metrics_show_one_group(read: Context) -> None:
    parts = [part async for part in read_state(read.redis, await read.config())]
    found = {(each.metric.name, tuple(each.labels)): each.value for part in parts for each in part}
    assert found["relay_pull_group_pending", tuple(GROUP)] == 4
    assert found["relay_pull_group_lag", tuple(GROUP)] == 0


async def test_seek_to_a_time_is_on_every_shard(read: Context, shards: Shards) -> None:
    plan = await groups.plan(read, OPERATOR, *GROUP, Target.at(2002))
    assert (plan.move.events, plan.is_back, plan.skipped, plan.is_noop) == (2, True, 0, False)
    assert (plan.move.current, plan.move.next, plan.move.last) == ("2003-0.3", "2002-0.2", "2003-0.3")
    assert [(each.before, each.beyond) for each in plan.move.consumers] == [(2, 2)]
    assert await groups.seek(read, OPERATOR, plan) == 2
    assert [await position_on(shard) for shard in shards.all[:2]] == ["2000-0", "2001-0"]
    group = await group_of(read)
    assert (group.lag, group.pending) == (2, 2)
    assert (await groups.plan(read, OPERATOR, *GROUP, Target.at(2002))).is_noop


async def test_seek_to_an_entry_is_exact_on_its_shard(read: Context, whole_arrivals: Arrivals, shards: Shards) -> None:
    plan = await groups.plan(read, OPERATOR, *GROUP, Target.at_entry("2002-0.2"))
    await groups.seek(read, OPERATOR, plan)
    assert sorted(ids(await receive(read, whole_arrivals, CRM, READ))) == ["b2", "b3"]
    for wrong, error in (("2009-0.2", Conflict), ("2002-0.4", Invalid)):
        with pytest.raises(error):
            await groups.plan(read, OPERATOR, *GROUP, Target.at_entry(wrong))
    await feed_at(shards.all[0], later=9000)
    with pytest.raises(Conflict, match=r"ends before that entry, at 2001-0\.1"):
        await groups.plan(read, OPERATOR, *GROUP, Target.at_entry("9000-0.1"))


async def test_seek_to_the_start_and_the_end(read: Context, whole_arrivals: Arrivals, shards: Shards) -> None:
    back = await groups.plan(read, OPERATOR, *GROUP, Target.start())
    assert (back.move.events, back.is_complete, back.move.after) == (8, True, "0-0")
    await groups.seek(read, OPERATOR, back)
    end = await groups.plan(read, OPERATOR, *GROUP, Target.end())
    assert (end.move.events, end.is_back, end.skipped, end.move.next) == (8, False, 8, None)
    await groups.seek(read, OPERATOR, end)
    assert (await receive(read, whole_arrivals, CRM, READ)).events == []
    await feed(shards.all[2], "later")
    assert ids(await receive(read, whole_arrivals, CRM, READ)) == ["later"]


async def test_seek_counts_events_read_again_and_skipped(read: Context, shards: Shards) -> None:
    await feed_at(shards.all[0], c=5000, d=5001)
    plan = await groups.plan(read, OPERATOR, *GROUP, Target.at(5001))
    assert (plan.is_back, plan.skipped, plan.move.events) == (False, 1, 1)
    await shards.all[0].xgroup_setid(stream_of(shards.all[0]), "crm", "0-0")
    plan = await groups.plan(read, OPERATOR, *GROUP, Target.at(2000))
    assert (plan.is_back, plan.skipped, plan.move.events) == (True, 1, 4)


async def test_history_is_complete_where_all_shards_have_it(read: Context, shards: Shards) -> None:
    await shards.all[1].xtrim(stream_of(shards.all[1]), minid="2001-0", approximate=False)
    plan = await groups.plan(read, OPERATOR, *GROUP, Target.at(1500))
    assert (plan.is_complete, plan.extent.oldest_ms, plan.extent.is_whole) == (False, 2001, False)
    assert (await groups.plan(read, OPERATOR, *GROUP, Target.at(2001))).is_complete


async def test_group_that_is_missing_on_a_shard_is_moved_on_the_others(read: Context, shards: Shards) -> None:
    await shards.all[2].xgroup_destroy(stream_of(shards.all[2]), "crm")
    plan = await groups.plan(read, OPERATOR, *GROUP, Target.start())
    assert plan.move.events == 6
    await groups.seek(read, OPERATOR, plan)
    assert [await position_on(shards.all[n]) for n in (0, 1, 3)] == ["0-0"] * 3


async def test_deletion_that_was_interrupted_is_repeated(
    read: Context, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = GroupLetters.delete_group
    done: list[GroupName] = []

    async def interrupted(self: GroupLetters, name: GroupName, *, with_letters: bool) -> int | None:
        if len(done) == 2:
            raise ConnectionError
        done.append(name)
        return await delete(self, name, with_letters=with_letters)

    with monkeypatch.context() as patch:
        patch.setattr(GroupLetters, "delete_group", interrupted)
        with pytest.raises(ConnectionError):
            await groups.delete(read, OPERATOR, *GROUP)
    assert [bool(await shard.xinfo_groups(stream_of(shard))) for shard in shards.all] == [True, True, False, False]
    await groups.delete(read, OPERATOR, *GROUP)
    for shard in shards.all:
        assert await shard.xinfo_groups(stream_of(shard)) == []
        assert not await shard.exists(shard.key.places("support"))
    with pytest.raises(NotFound):
        await groups.delete(read, OPERATOR, *GROUP)


@pytest.fixture
async def dead(read: Context, shards: Shards) -> Context:
    """A dead letter on each shard, two of them of the same moment; the letters of shard n come later than of n - 1."""
    for shard in shards.all:
        [row] = await shard.xpending_range(stream_of(shard), "crm", "-", "+", 1)
        number = shards.all.index(shard)
        suffix = f".{number}" if number else ""
        receipt = f"{row['message_id'].decode()}{suffix}.1"
        assert (await reject(read, CRM, GROUP, [receipt], f"error {number}")).done == 1
    return read


async def letters_of(whole: Context) -> dict[str, GroupLetter]:
    page = await dead_letters.search(whole, OPERATOR, GROUP)
    return {letter.record.id: letter for letter in page.items}


async def test_dead_letters_of_all_shards_are_in_one_list(dead: Context, shards: Shards) -> None:
    found: list[GroupLetter] = []
    cursor = None
    while True:
        page = await dead_letters.search(dead, OPERATOR, GROUP, cursor=cursor, limit=3)
        found += page.items
        if (cursor := page.next) is None:
            break
    assert [letter.record.id for letter in found] == ["b0", "b1", "b2", "b3"]
    assert [letter.entry for letter in found] == ["2000-0", "2001-0.1", "2002-0.2", "2003-0.3"]
    assert [letter async for letter in dead_letters.every(dead, OPERATOR, GROUP)] == found
    assert await dead_letters.numbers(dead, OPERATOR) == {GROUP: 4}
    assert (await group_of(dead)).dead == 4
    await shards.all[2].xdel(stream_of(shards.all[2]), "2002-0")
    for letter in found:
        in_full = await dead_letters.get(dead, OPERATOR, GROUP, letter.record.entry)
        assert in_full.letter == letter
        assert in_full.is_kept is (letter.record.id != "b2")
    for missing in ("1-1.3", "1-1.9", "x.1"):
        with pytest.raises(NotFound):
            await dead_letters.get(dead, OPERATOR, GROUP, missing)


async def test_dead_letters_are_given_back_and_dropped_on_their_shards(
    dead: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    letters = await letters_of(dead)
    await shards.all[3].xdel(stream_of(shards.all[3]), "2003-0")
    chosen = Choice(GROUP, ids=[letters[name].record.entry for name in ("b1", "b2", "b3")])
    for dry_run in (True, False):
        done = await dead_letters.replay(dead, OPERATOR, chosen, dry_run=dry_run)
        assert (done.replayed, list(done.gone)) == (2, [letters["b3"].record.entry])
    batch = await receive(dead, whole_arrivals, CRM, READ)
    assert [(event.record.id, event.deliveries) for event in batch.events] == [("b1", 1), ("b2", 1)]
    assert (await acknowledge(dead, whole_arrivals, CRM, GROUP, receipts(batch))).done == 2
    assert [await shard.xlen(shard.key.group_dead(*GROUP)) for shard in shards.all] == [1, 0, 0, 1]

    only = Choice(GROUP, EventFilter(event_ids={"b3"}))
    assert await dead_letters.drop(dead, OPERATOR, only, "gone") == 1
    assert await dead_letters.drop(dead, OPERATOR, Choice(GROUP), "test") == 1
    assert await letters_of(dead) == {}


async def test_letters_outlive_their_group_or_are_dropped_with_it(dead: Context, shards: Shards) -> None:
    with pytest.raises(Forbidden):
        await groups.delete(dead, CRM, *GROUP, with_letters=True)
    await groups.delete(dead, OPERATOR, *GROUP)
    assert len(await letters_of(dead)) == 4
    with pytest.raises(Conflict, match="deleted or lost"):
        await dead_letters.replay(dead, OPERATOR, Choice(GROUP))
    assert await groups_left(dead, "crm") == [GROUP]
    for shard in shards.all:
        await shard.xgroup_create(stream_of(shard), "crm", "$")
    await groups.delete(dead, OPERATOR, *GROUP, with_letters=True)
    assert not any([await shard.exists(shard.key.group_dead(*GROUP)) for shard in shards.all])
    assert await groups_left(dead, "crm") == []
