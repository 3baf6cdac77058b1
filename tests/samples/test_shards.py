"""The sample consumers on a relay with four shards: they read them as one topic, on a plain Redis and on a cluster."""

from __future__ import annotations

import signal
import time
from asyncio import gather
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from relay.core.errors import StoreUnavailable
from relay.store.driver.client import REDIS_ERRORS
from tests.samples.languages import LANGUAGES, Language
from tests.samples.sharded import MOST, ShardedStage, chats_on, open_sharded_stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.samples.members import Member

pytestmark = [pytest.mark.background, pytest.mark.slow, pytest.mark.timeout(180)]  # the first test builds
NEEDING_TOOLS = [
    pytest.param(language, id=language.name, marks=pytest.mark.needs_tool(language.tool)) for language in LANGUAGES
]


@pytest.fixture(params=NEEDING_TOOLS)
async def language(request: pytest.FixtureRequest) -> Language:
    language: Language = request.param
    language.built()
    return language


@pytest.fixture
async def stage(language: Language, tmp_path: Path) -> AsyncIterator[ShardedStage]:
    async with open_sharded_stage(tmp_path, language) as stage:
        yield stage


@pytest.fixture
async def on_cluster(language: Language, tmp_path: Path) -> AsyncIterator[ShardedStage]:
    async with open_sharded_stage(tmp_path, language, is_cluster=True) as stage:
        yield stage


def done_by(*members: Member) -> list[str]:
    """Return the ids of the events that were handled, repeats as well."""
    return [event_id for member in members for event_id in member.done]


def deliveries_of(*members: Member) -> dict[str, int]:
    """Return the last delivery count of each event that a handler got."""
    return {event.id: event.deliveries for member in members for event in member.begun}


async def test_each_event_is_handled_once_while_a_cluster_grows(on_cluster: ShardedStage) -> None:
    stage = on_cluster
    await stage.set_count(2)
    few = [chat for shard in range(2) for chat in chats_on(shard, 5, shards=2)]
    chats = [chat for shard in range(MOST) for chat in chats_on(shard, 5)]
    sent = await stage.feed(*few)
    members = [await stage.start(name, claim_after=3) for name in ("a", "b")]
    await eventually(lambda: len(done_by(*members)) == len(sent))
    await stage.set_count(MOST)
    for _ in range(3):
        sent += await stage.feed(*chats)
    await eventually(lambda: len(done_by(*members)) >= len(sent))
    await eventually(stage.is_idle)
    assert sorted(done_by(*members)) == sorted(sent)
    begun = [event for member in members for event in member.begun]
    assert {event.id: event.entry for event in begun} == stage.entries
    assert {event.entry.partition(".")[2] for event in begun} == {"", "1", "2", "3"}
    for member in members:
        member.signal(signal.SIGTERM)
        assert await member.ended() == 0
    assert not await stage.consumers()


async def test_chats_of_every_shard_are_in_order_and_shards_take_turns(stage: ShardedStage) -> None:
    chats = [chats_on(shard, 1)[0] for shard in range(MOST)]
    sent = {chat: await stage.feed(*[chat] * 25) for chat in chats}
    member = await stage.start("a")
    await eventually(lambda: len(member.done) == 100)
    for ids in sent.values():
        assert [each for each in member.ids if each in ids] == ids
    first = {shard: min(map(member.ids.index, sent[chats[shard]])) for shard in range(MOST)}
    assert max(first.values()) < 60
    await eventually(stage.is_idle)


async def test_one_handler_works_at_a_time_and_what_waits_is_not_taken_over(stage: ShardedStage) -> None:
    [held] = await stage.feed(*chats_on(1, 1, "hold"))
    first = await stage.start("a", claim_after=3)
    await eventually(lambda: first.ids == [held])
    others = await stage.feed(*(chat for shard in range(MOST) for chat in chats_on(shard, 3)))
    await eventually(lambda: has_read_on_all(stage))
    waiting = await stage.held_by("a")
    second = await stage.start("b", claim_after=3)
    await eventually(lambda: set(second.done) == set(others) - waiting)
    await eventually(lambda: time.monotonic() > first.begun[0].at + 8)
    assert first.ids == [held]
    stage.release.touch()
    await eventually(lambda: len(done_by(first, second)) >= len(others) + 1)
    await eventually(stage.is_idle)
    assert sorted(done_by(first, second)) == sorted([held, *others])
    assert set(first.done) == waiting
    assert set(deliveries_of(first, second).values()) == {1}


async def has_read_on_all(stage: ShardedStage) -> bool:
    """Return True if a member that handles an event on one shard has read events on the others."""
    return len({stage.entries[each].partition(".")[2] for each in await stage.held_by("a")}) == MOST


async def test_member_that_stops_hands_back_on_every_shard(stage: ShardedStage) -> None:
    [held] = await stage.feed(*chats_on(3, 1, "hold"))
    first = await stage.start("a")
    await eventually(lambda: first.ids == [held])
    others = await stage.feed(*chats_on(0, 3), *chats_on(1, 3), *chats_on(2, 3))
    await eventually(lambda: has_read_on_all(stage))
    second = await stage.start("b")
    first.signal(signal.SIGTERM)
    await eventually(lambda: len(second.done) == len(others))
    assert sorted(second.ids) == sorted(others)
    assert not first.done
    stage.release.touch()
    assert await first.ended() == 0
    assert first.done == [held]
    assert set(deliveries_of(second).values()) == {1}  # what was not begun does not count
    await eventually(stage.is_idle)
    assert await stage.consumers() <= {"b", "relay:returned"}


async def test_event_that_kills_its_process_wears_out_none_on_another_shard(stage: ShardedStage) -> None:
    [crash] = await stage.feed(*chats_on(1, 1, "crash"))
    [reject] = await stage.feed(*chats_on(2, 1, "reject"))
    others = await stage.feed(*(chat for shard in range(MOST) for chat in chats_on(shard, 5)))
    members: list[Member] = []
    while not await stage.dead(1):
        members.append(await stage.start("a", claim_after=0.3, MAX_DELIVERIES="4"))
        await eventually(lambda: has_ended_or_buried(stage, members[-1]))
    await eventually(lambda: set(done_by(*members)) == set(others))
    await eventually(stage.is_idle)
    [letter] = await stage.dead(1)
    assert (letter["id"], letter["dead_reason"], letter["dead_deliveries"]) == (crash, "max_deliveries", "4")
    assert f"{letter['dead_entry']}.1" == stage.entries[crash]
    [letter] = await stage.dead(2)
    assert (letter["id"], letter["dead_reason"]) == (reject, "rejected")
    assert max(deliveries_of(*members)[event] for event in others) <= 3


async def has_ended_or_buried(stage: ShardedStage, member: Member) -> bool:
    return member.process.returncode is not None or bool(await stage.dead(1))


async def test_events_of_a_killed_member_are_taken_over_on_every_shard(on_cluster: ShardedStage) -> None:
    stage = on_cluster
    [held] = await stage.feed(*chats_on(2, 1, "hold"))
    first = await stage.start("a", claim_after=1)
    await eventually(lambda: first.ids == [held])
    others = await stage.feed(*chats_on(0, 3), *chats_on(1, 3), *chats_on(3, 3))
    await eventually(lambda: has_read_on_all(stage))
    had = await stage.held_by("a")
    first.signal(signal.SIGKILL)
    await first.ended()
    stage.release.touch()
    second = await stage.start("b", claim_after=1)
    await eventually(lambda: sorted(second.done) == sorted([held, *others]))
    assert {event_id for event_id, count in deliveries_of(second).items() if count == 2} == had
    await eventually(stage.is_idle)


async def test_new_group_begins_at_its_start_on_every_shard(stage: ShardedStage) -> None:
    chats = [chats_on(shard, 1)[0] for shard in range(MOST)]
    await stage.set_count(2)
    await stage.feed(*chats)
    member = await stage.start("a", claim_after=3, START="$")
    await eventually(lambda: member.said.count("made the group") == 2)
    await stage.set_count(MOST)
    on_new = await stage.feed(*(chats_on(shard, 1)[0] for shard in (2, 3)))  # before it knows of them
    await eventually(lambda: sorted(member.done) == sorted(on_new))
    member.signal(signal.SIGTERM)
    await member.ended()
    later = await stage.feed(*chats)
    again = await stage.start("a", START="$")
    await eventually(lambda: sorted(again.done) == sorted(later))


async def test_the_other_shards_are_read_while_a_node_is_away(on_cluster: ShardedStage) -> None:
    stage, cluster = on_cluster, on_cluster.cluster
    assert cluster is not None
    stage.url = cluster.url  # a node that is started again has forgotten its users
    owners = [await cluster.owner(key_slot(shard.key.name.encode())) for shard in stage.shards.all]
    away = next(port for port in owners if port != owners[0])
    chats = [chats_on(shard, 1)[0] for shard in range(MOST)]
    here = [chat for chat, owner in zip(chats, owners, strict=True) if owner != away]
    first = await stage.start("a")
    sent = await stage.feed(*chats)
    await eventually(lambda: sorted(first.done) == sorted(sent))
    await eventually(stage.is_idle)  # else what was not acknowledged would come to the second member as well
    cluster.kill(away)
    sent += await stage.feed(*here, *here)
    await eventually(lambda: sorted(first.done) == sorted(sent))
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    sent = await stage.feed(*here)
    second = await stage.start("b")
    await eventually(lambda: sorted(second.done) == sorted(sent))
    cluster.start(away)
    there = next(chat for chat, owner in zip(chats, owners, strict=True) if owner == away)
    sent += await eventually(lambda: feed_when_back(stage, there), timeout=30)
    await eventually(lambda: sorted(second.done) == sorted(sent))
    await eventually(stage.is_idle)


async def feed_when_back(stage: ShardedStage, chat: str) -> list[str] | None:
    with suppress(StoreUnavailable, *REDIS_ERRORS):
        await gather(*(shard.ping() for shard in stage.shards.all))
        return await stage.feed(chat)
    return None


async def test_what_no_retry_can_change_ends_it_and_makes_no_stream(on_cluster: ShardedStage) -> None:
    stage, cluster = on_cluster, on_cluster.cluster
    assert cluster is not None
    unknown = await stage.start("a", TOPIC="suport")
    locked_out = await stage.start("b", REDIS_URL=cluster.url.replace("//", "//crm:wrong@"))
    for member in (unknown, locked_out):
        assert await member.ended() == 1
    await eventually(lambda: "suport" in unknown.said)
    await eventually(lambda: "WRONGPASS" in locked_out.said)
    assert not [shard for shard in stage.shards.all if await shard.exists(shard.key.topic("suport"))]
