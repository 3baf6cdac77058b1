"""Walks of a relay with four shards: a message is known on whichever has it, and comes back on that of its chat."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from relay.core.event import Dialect
from relay.linq.payloads.shard_key import shard_key_in
from relay.process.lifecycle import Lifecycle
from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.fleet.processes import Reporter
from relay.store.gaps.message_index import MessageIndex, begin_index
from relay.store.gaps.outages import Outage, forget_outage, pending_outage
from relay.store.gaps.walk_record import Mode, WalkRecord
from relay.store.sharding.growth.fence import advance, prepare_fences
from relay.store.sharding.shards import Shards, open_shards
from relay.store.state.linq.gaps import gap_samples
from tests.clusters import clusters
from tests.gaps.stage import HOUR_MS, Stage, messages_in, stage_of
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.sandbox.running import RunningSandbox


@pytest.fixture
async def shards(redis: Redis, redis_url: str) -> AsyncIterator[Shards]:
    del redis  # empty
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
async def stage(shards: Shards, sandbox: RunningSandbox, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage_of(shards.home, sandbox, tmp_path) as opened:
        yield opened


async def test_messages_come_back_once_on_the_shards_of_their_chats(stage: Stage, shards: Shards) -> None:
    made = stage.outage(messages=60, chats=12)
    await stage.accept(*made[::3])
    await stage.routed()
    assert (await stage.walk(Mode.LOOK)).missing == 40
    walk = await stage.walk()
    assert (walk.missing, walk.put) == (40, 40)
    put = [await shard.xlen(shard.key.inbox) for shard in shards.all]
    assert sum(put) == 40
    assert len([each for each in put if each]) > 1
    for number, shard in enumerate(shards.all):
        for _, fields in await shard.xrange(shard.key.inbox):
            assert shards.of(shard_key_in(Dialect.V3, fields[b"body"])) is shards.all[number]
    assert messages_in(await stage.routed()) == sorted(scenario.message_id for _, scenario in made)
    recorded = await WalkRecord(shards.home).read()
    assert recorded
    assert (recorded.put, recorded.left) == (40, 0)
    backfilled, *_ = [sample.value async for sample in gap_samples(shards.home, None, 0)]
    assert backfilled == 40
    again = await stage.walk()
    assert (again.missing, again.put) == (0, 0)
    assert (await WalkRecord(shards.home).read() or walk).put == 0, "the counts of a former walk are gone"


async def test_messages_come_back_by_the_number_in_use_while_the_relay_grows(stage: Stage, shards: Shards) -> None:
    """Linq's late event goes by that number as well, so the mark must be there."""
    await shards.home.set(shards.home.key.shards, 2)
    stage.outage(messages=30, chats=12)
    assert (await stage.walk()).put == 30
    put = [await shard.xlen(shard.key.inbox) for shard in shards.all]
    assert (sum(put[:2]), put[2:]) == (30, [0, 0])
    assert min(put[:2]) > 0


async def test_messages_are_placed_again_by_a_relay_that_grows_meanwhile(stage: Stage, shards: Shards) -> None:
    """Until it is open, a new shard takes nothing; from its fence on, an old one takes nothing by the former number."""
    await shards.home.set(shards.home.key.shards, 2)
    await prepare_fences(shards.all, 2)
    await advance(shards.all, 2, 4, 0)
    stage.outage(messages=30, chats=12)
    before = await placements(shards.home)
    walking = asyncio.create_task(stage.walk())
    await eventually(lambda: more_than(before, shards.home))
    assert [await shard.xlen(shard.key.inbox) for shard in shards.all] == [0] * 4
    await shards.home.set(shards.home.key.shards, 4)
    assert (await walking).put == 30
    for shard in shards.all:
        for _, fields in await shard.xrange(shard.key.inbox):
            assert shards.of(shard_key_in(Dialect.V3, fields[b"body"])) is shard


async def placements(redis: Redis) -> int:
    """Return how often a script has looked at the number by which events are placed, or anything has at a hash."""
    return int((await redis.info("commandstats")).get("cmdstat_hget", {}).get("calls", 0))


async def more_than(before: int, redis: Redis) -> bool:
    return await placements(redis) > before


@pytest.mark.slow
async def test_messages_come_back_on_a_cluster(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """Each step that puts messages back names keys of one slot."""
    async with (
        clusters(tmp_path / "servers", replicas=0) as cluster,
        open_shards(cluster.url, WORKER_TIMEOUT, count=4) as shards,
        stage_of(shards.home, sandbox, tmp_path) as stage,
    ):
        made = stage.outage(messages=40, chats=12)
        await stage.accept(*made[:10])
        await stage.routed()
        walk = await stage.walk()
        assert (walk.missing, walk.put) == (30, 30)
        assert messages_in(await stage.routed()) == sorted(scenario.message_id for _, scenario in made)
        await Reporter(shards.home, "ingress", Lifecycle(), list, dedupe_window=60.0).report()
        assert await pending_outage(shards.home) is None
        assert all([await ask(shard.hget(shard.key.gaps, "answered_at")) for shard in shards.all])


async def test_linqs_late_event_is_recognised_on_its_shard(stage: Stage) -> None:
    made = stage.outage(messages=24, chats=8)
    await stage.walk()
    await stage.routed()
    await stage.accept(*made)
    entries = await stage.routed()
    assert messages_in(entries) == sorted(scenario.message_id for _, scenario in made)
    assert {entry["source"] for entry in entries} == {"backfill"}
    assert len(await stage.routed("live")) == 24, "a topic without history gets the live event"


async def test_event_of_another_number_of_shards_is_known(stage: Stage, shards: Shards, redis: Redis) -> None:
    """Messages of chats that have moved are in the index of their former shard."""
    made = stage.outage(messages=20, chats=8)
    before = Stage(redis, stage.sandbox, stage.file)
    await before.accept(*made)
    await before.routed()
    assert len(redis.shards) == 1
    assert await ask(shards.home.hget(shards.home.key.counts, "accepted")) == b"20"  # type: ignore[comparison-overlap]
    walk = await stage.walk()
    assert (walk.messages, walk.missing, walk.put) == (20, 0, 0)


async def test_index_begins_with_that_of_the_last_shard_that_had_events(shards: Shards) -> None:
    first, second, third, last = shards.all
    index = MessageIndex(shards.home)
    assert await index.began_ms() is None
    for shard, began in ((first, 5), (second, 7)):
        await ask(shard.hset(shard.key.gaps, "began", str(began)))
    assert await index.began_ms() == 7, "the others never had an event"
    await ask(third.hset(third.key.counts, "accepted", "1"))
    assert await index.began_ms() is None
    await begin_index(third, 9, first)
    assert await index.began_ms() == 7, "it has routed nothing before"
    await ask(last.hset(last.key.counts, mapping={"accepted": "1", "routed": "1"}))
    await begin_index(last, 9, first)
    assert await index.began_ms() == 9


async def test_shard_that_was_away_is_an_outage(shards: Shards) -> None:
    now = round(time.time() * 1000)
    reporter = Reporter(shards.home, "ingress", Lifecycle(), list, dedupe_window=60.0)
    await reporter.report()
    assert await pending_outage(shards.home) is None
    away = shards.all[2]
    await ask(away.hset(away.key.gaps, "answered_at", str(now - 2 * HOUR_MS)))
    await reporter.report()
    found = await pending_outage(shards.home)
    assert found
    assert (found.from_ms, found.to_ms >= now) == (now - 2 * HOUR_MS, True)

    await ask(shards.home.hset(shards.home.key.gaps, mapping={"outage_from": "5", "outage_to": "7"}))
    assert await pending_outage(shards.home) == Outage(5, found.to_ms), "several are one"
    await forget_outage(shards.home)
    assert await pending_outage(shards.home) is None
