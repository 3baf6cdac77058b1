"""Deliveries of a subscription that has a lane on each of four shards: its limits hold for it as a whole."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.core.delivery.circuit_breaker import Limits
from relay.store import wakeups
from relay.store.driver.client import WORKER_TIMEOUT, open_redis
from relay.store.driver.lease import acquire_lease
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from relay.store.sharding.shards import Shards, open_shards
from tests.support import eventually, reserve_port
from tests.workers.conftest import TIMINGS, Received, Sink, rules_for
from tests.workers.delivering import delivering, feed, ledger_of
from workers.delivery.lane_workers import LaneWorkers
from workers.delivery.source import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.lanes.suspensions import Pause

BOT = wakeups.partition_of("bot")


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        for lane in lanes_of(shards):
            await lane.ensure()
        yield shards


def lanes_of(shards: Shards) -> list[Lane]:
    return [Lane(shard, "bot", "messages") for shard in shards.all]


async def feed_all(shards: Shards, count: int) -> set[str]:
    """Route `count` events to the lane of each shard; return their ids."""
    ids: set[str] = set()
    for number, (shard, lane) in enumerate(zip(shards.all, lanes_of(shards), strict=True)):
        of_shard = [f"{number}-{n}" for n in range(count)]
        await feed(shard, lane, *of_shard)
        ids.update(of_shard)
    return ids


def write_rules(rules_file: Path, rules: ConfigFile, sink: Sink, **more: str) -> None:
    rules_file.write_text(rules_for(sink, **more))
    rules.reload()


class Gate:
    """An endpoint that holds requests for a while and counts them."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.now = self.most = 0
        self.status = 204
        self._seconds = seconds

    async def answer(self, _: Received) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self._seconds)
        self.now -= 1
        return web.Response(status=self.status)


async def test_concurrency_holds_over_all_shards_and_is_used(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot="concurrency = 3")
    gate = Gate(0.01)
    sink.answer = gate.answer
    ids = await feed_all(shards, 20)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: len(sink.received) == len(ids))
        await eventually(lambda: gate.now == 0)
        await eventually(partial(is_settled, shards, 80))
    assert gate.most == 3
    assert sorted(sink.ids()) == sorted(ids)


async def is_settled(shards: Shards, count: int) -> bool:
    """Return True if so many were delivered on all shards together, and the ledger balances."""
    row = await ledger_of(shards.home, "bot")
    return row.delivered == count and row.balances


async def test_lane_with_a_backlog_leaves_the_others_their_turns(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot="concurrency = 1")
    gate = Gate(0.002)
    sink.answer = gate.answer
    first, *others = lanes_of(shards)
    await feed(shards.home, first, *(f"backlog-{number}" for number in range(150)))
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: len(sink.received) > 10)
        for shard, lane in zip(shards.all[1:], others, strict=True):
            await feed(shard, lane, f"late-{shard.key.name}")
        await eventually(lambda: sum(name.startswith("late") for name in sink.ids()) == 3)
        assert len(sink.received) < 100
        await eventually(lambda: len(sink.received) == 153)
    assert gate.most == 1


async def test_slow_endpoint_takes_from_all_lanes_in_turn(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot="concurrency = 2")
    sink.answer = Gate(0.15).answer  # longer than a turn, so that one ends with each start
    await feed_all(shards, 50)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: {name[0] for name in sink.ids()} == set("0123"))
        assert len(sink.received) < 50


async def test_lane_that_may_not_read_leaves_the_others_their_turns(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "_has_room", property(lambda source: source._lane.key != shards.home.key.lane("bot")))
    write_rules(rules_file, rules, sink, bot="concurrency = 1")
    ids = await feed_all(shards, 20)
    began = time.monotonic()
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: len(sink.received) == 60)
    assert time.monotonic() - began < 10  # not one a second, as those whose turn never comes
    assert set(sink.ids()) < set(ids)


async def test_rate_holds_over_all_shards(shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink) -> None:
    write_rules(rules_file, rules, sink, bot="rate = 20")
    ids = await feed_all(shards, 10)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: len(sink.received) == len(ids))
    took = sink.received[-1].at - sink.received[0].at
    assert 0.6 < took < 4  # of 40, 20 are the burst, and some are ready when the first POST arrives
    assert sorted(sink.ids()) == sorted(ids)


async def test_breaker_is_one_and_its_state_is_at_home(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot="concurrency = 4", retry='["50ms", "50ms", "50ms", "50ms"]')
    gate = Gate()
    sink.answer = gate.answer
    gate.status = 503
    ids = await feed_all(shards, 30)
    limits = Limits(first_wait=0.05, longest_wait=0.2, window=0.5)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:], breaker_limits=limits):
        await eventually(lambda: has_open_breaker(shards))
        seen = len(sink.received)
        assert seen < 60
        assert [await shard.exists(shard.key.breakers) for shard in shards.all] == [1, 0, 0, 0]
        gate.status = 204
        await eventually(lambda: set(sink.ids()) == ids)
        await eventually(partial(is_settled, shards, 120))
    assert await Suspensions(shards.home).open_breakers() == {}


async def has_open_breaker(shards: Shards) -> bool:
    return bool(await Suspensions(shards.home).open_breakers())


async def test_pause_holds_and_ends_on_all_shards(shards: Shards, rules: ConfigFile, sink: Sink) -> None:
    await Suspensions(shards.home).pause("bot", "test", 1)
    ids = await feed_all(shards, 3)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: is_taken(shards))
        assert sink.received == []
        await Suspensions(shards.home).resume("bot")
        await eventually(lambda: set(sink.ids()) == ids)


async def test_outage_that_one_shard_meets_for_all_makes_every_lane_search_for_orphans(
    shards: Shards, rules: ConfigFile, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, resync, searching, is_away = Suspensions.pauses, LaneWorkers.resync, set[int](), False

    async def read(self: Suspensions) -> dict[str, Pause]:
        nonlocal is_away
        if is_away:
            is_away = False
            raise RedisConnectionError
        return await pauses(self)

    def noted(self: LaneWorkers) -> None:
        searching.add(self._session.shard)
        resync(self)

    monkeypatch.setattr(Suspensions, "pauses", read)
    monkeypatch.setattr(LaneWorkers, "resync", noted)
    ids = await feed_all(shards, 3)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: set(sink.ids()) == ids)
        assert searching == set()
        is_away = True
        await eventually(lambda: searching == {0, 1, 2, 3})


async def is_taken(shards: Shards) -> bool:
    """Return True if no lane is marked any more: their workers run."""
    return not any([await shard.exists(shard.key.ready(BOT)) for shard in shards.all])


async def test_changed_rules_keep_the_limit(shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink) -> None:
    write_rules(rules_file, rules, sink, bot="concurrency = 4")
    gate = Gate(0.02)
    sink.answer = gate.answer
    ids = await feed_all(shards, 20)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: gate.most == 4)
        write_rules(rules_file, rules, sink, bot='concurrency = 4\ntimeout = "3s"')
        await eventually(lambda: set(sink.ids()) == ids)
        await eventually(partial(is_settled, shards, 80))
    assert gate.most == 4
    assert len(sink.ids()) == len(ids)


async def test_shard_that_does_not_answer_delays_no_other(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot="concurrency = 1")
    ids = await feed_all(shards, 5)
    async with open_redis(f"redis://127.0.0.1:{reserve_port()}", WORKER_TIMEOUT, "relay/4") as away:
        others = (away, *shards.all[1:])
        impatient = replace(TIMINGS, grace=0.2)
        async with delivering(shards.home, rules, "bot", others=others, timings=impatient):
            await eventually(lambda: set(sink.ids()) == ids)


async def test_lease_of_a_killed_worker_on_one_shard_is_waited_for(
    shards: Shards, rules: ConfigFile, sink: Sink
) -> None:
    ids = await feed_all(shards, 2)
    last = shards.all[-1]
    key = last.key.lease(wakeups.deliver(last.key, BOT).job_id)
    await last.set(key, "of a killed worker", px=1500)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: len(sink.ids()) == 6)
        assert not [name for name in sink.ids() if name.startswith("3-")]
        await eventually(lambda: set(sink.ids()) == ids)


async def test_drain_ends_on_all_shards_together_and_frees_their_jobs(
    shards: Shards, rules: ConfigFile, sink: Sink
) -> None:
    ids = await feed_all(shards, 2)
    quick = replace(TIMINGS, idle=0.3)
    began = time.monotonic()
    async with delivering(shards.home, rules, "bot", others=shards.all[1:], timings=quick):
        await eventually(lambda: set(sink.ids()) == ids)
        for shard in shards.all[1:]:
            job = wakeups.deliver(shard.key, BOT).job_id
            await eventually(partial(is_free, shard, job))
        assert time.monotonic() - began < 10
        async with acquire_lease(shards.all[1], wakeups.deliver(shards.all[1].key, BOT).job_id):
            pass


async def is_free(shard: Redis, job: str) -> bool:
    return not await shard.exists(shard.key.lease(job), shard.key.arq_lock(job))
