"""Loops of maintenance over lanes, topics and replays: an element that cannot be used stops no other."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.config.file import ConfigFile
from relay.core.event_filter import EventFilter
from relay.process.timings import Timings
from relay.store import keys, wakeups
from relay.store.driver.client import ask
from relay.store.driver.lease import acquire_lease
from relay.store.lanes.lane import Lane
from relay.store.topics.history import Span, Survey
from relay.store.topics.replays import Order, Replays
from tests.building import SECRET, webhook_of
from tests.support import KEYS, eventually, hash_of
from tests.workers.conftest import accept, routing
from workers.maintenance.replayer import Replayer
from workers.maintenance.retention import Retention
from workers.maintenance.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping, Sequence
    from pathlib import Path

    from relay.store.driver.client import Redis

NAMES = ("a", "b", "c")
MIDDLE = "b"
LONG_AGO = f"{round((time.time() - 100 * 3600) * 1000)}-0"
LANE_KEYS = list(KEYS.lane_types(MIDDLE))


@pytest.fixture
async def rules(tmp_path: Path) -> AsyncIterator[ConfigFile]:
    path = tmp_path / "relay.toml"
    path.write_text(
        "".join(
            f'[[topics]]\nname = "{name}"\nevents = ["*"]\n[[subscriptions]]\nname = "{name}"\ntopic = "{name}"\n'
            f'url = "http://x"\nsecret = "{SECRET.text}"\n'
            for name in NAMES
        )
    )
    async with ConfigFile(path) as rules:
        yield rules


@pytest.fixture(autouse=True)
async def _lanes(redis: Redis) -> None:
    for name in NAMES:
        await Lane(redis, name, name).ensure()


def suspended(logs: Sequence[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in logs if str(line["event"]).endswith(".suspended")]


@pytest.mark.parametrize("key", [*LANE_KEYS, KEYS.topic(MIDDLE), KEYS.inbox, KEYS.replays_running])
async def test_sweep_wakes_the_other_lanes(redis: Redis, rules: ConfigFile, key: str) -> None:
    for name in NAMES:
        await redis.xadd(KEYS.topic(name), {"id": "e"})
    await redis.set(key, "not ours")
    with capture_logs() as logs:
        for _ in range(2):
            await Sweeper(redis, rules, time.time).sweep()
    for name in {*NAMES} - {MIDDLE}:
        assert await redis.zscore(KEYS.ready(wakeups.partition_of(name)), name) is not None
        assert (await hash_of(redis, KEYS.lane(name)))[f"known:{KEYS.topic(name)}"] == "1"
    assert key in str(logs)
    if key in LANE_KEYS:
        assert {line["subscription"] for line in suspended(logs)} == {MIDDLE}
        assert all(f"RENAME {key}" in str(line["note"]) for line in suspended(logs))


async def test_sweep_marks_the_other_partitions(redis: Redis, rules: ConfigFile) -> None:
    for name in NAMES:
        await redis.xadd(KEYS.topic(name), {"id": "e"})
    broken = KEYS.ready(wakeups.partition_of(MIDDLE))
    await redis.set(broken, "not ours")
    with capture_logs() as logs:
        await Sweeper(redis, rules, time.time).sweep()
    assert await redis.zscore(KEYS.ready(wakeups.partition_of("c")), "c") is not None
    assert await redis.zscore(KEYS.queue, wakeups.deliver(KEYS, wakeups.partition_of(MIDDLE)).job_id) == wakeups.NOW
    assert [line["partition"] for line in suspended(logs)] == [broken]


@pytest.mark.parametrize("key", [*LANE_KEYS, KEYS.topic(MIDDLE), KEYS.quarantine, KEYS.topics])
async def test_trimming_goes_on_with_the_others(redis: Redis, rules: ConfigFile, key: str) -> None:
    for name in NAMES:
        await redis.delete(KEYS.topic(name))
        await redis.xadd(KEYS.topic(name), {"id": "e"}, id=LONG_AGO)
        await redis.xadd(KEYS.lane(name, "attempts"), {"a": "x"}, id=LONG_AGO)
    await redis.set(key, "not ours")
    with capture_logs() as logs:
        await Retention(redis, rules, time.time).trim()
    for name in {*NAMES} - {MIDDLE}:
        assert not await redis.xlen(KEYS.lane(name, "attempts"))
        assert not await redis.xlen(KEYS.topic(name))
    if key.endswith((":attempts", ":answers", ":b", ":topics")) and key != KEYS.lane(MIDDLE):
        assert key in str(logs)


async def test_topic_of_an_overwritten_lane_is_trimmed(redis: Redis, rules: ConfigFile) -> None:
    for number in range(3):
        await redis.xadd(KEYS.topic(MIDDLE), {"id": "e"}, id=f"{number + 1}-1")
    await redis.xgroup_setid(KEYS.topic(MIDDLE), keys.push_group(MIDDLE), "2-1")
    await redis.set(KEYS.lane(MIDDLE), "not ours")
    await Retention(redis, rules, time.time).trim()
    assert [entry for entry, _ in await redis.xrange(KEYS.topic(MIDDLE))] == [b"3-1"]


@pytest.mark.parametrize("broken", ["replay", "record", "topic", "lane", "counter"])
async def test_replay_that_cannot_go_on_stops_no_other(redis: Redis, rules: ConfigFile, broken: str) -> None:
    replays, ids = Replays(redis), {}
    for name in (MIDDLE, "a", "c"):
        entry = (await redis.xadd(KEYS.topic(name), {"id": "e"})).decode()
        order = Order(name, name, EventFilter(), 1000.0, "a test")
        ids[name] = (await replays.start(order, Survey(Span("0-0", entry), 1, 1, 1, 1), 1)).id
    record = KEYS.replay(ids[MIDDLE])
    if broken == "record":
        await ask(redis.hset(record, "rate", "fast"))
    elif broken == "counter":
        await ask(redis.hset(record, "seen", "x"))
    else:
        await redis.set({"replay": record, "topic": KEYS.topic(MIDDLE), "lane": KEYS.lane(MIDDLE)}[broken], "not ours")
    stop = asyncio.Event()
    with capture_logs() as logs:
        async with acquire_lease(redis, wakeups.replay(KEYS).job_id) as lease:
            drain = asyncio.create_task(Replayer(redis, rules, time.time, Timings(replay_tick=0.01)).drain(lease, stop))

            async def have_ended() -> bool:
                return {replay.id for replay in await replays.running()} <= {ids[MIDDLE]}

            await eventually(have_ended)
            stop.set()
            await drain
    for name in ("a", "c"):
        assert await redis.xlen(KEYS.lane(name, "replay")) == 1
    assert {line["replay"] for line in logs if line["log_level"] == "error"} == {ids[MIDDLE]}
    assert {replay.id for replay in await replays.all()} >= {ids["a"], ids["c"]}


@pytest.mark.parametrize("key", LANE_KEYS)
async def test_router_goes_on_beside_a_broken_lane(redis: Redis, rules: ConfigFile, key: str) -> None:
    await redis.set(key, "not ours")
    with capture_logs() as logs:
        async with routing(redis, rules):
            await accept(redis, webhook_of())

            async def is_routed() -> bool:
                return bool(await redis.xlen(KEYS.topic("a")) and await redis.xlen(KEYS.topic(MIDDLE)))

            await eventually(is_routed)
    assert {line["subscription"] for line in suspended(logs)} == {MIDDLE}
