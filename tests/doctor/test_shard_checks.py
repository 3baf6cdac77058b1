"""Findings about a relay with several shards: each is examined, and what differs between them is named."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from relay.config.settings import Settings
from relay.core.config.relay_toml import parse_config
from relay.doctor.finding import State
from relay.doctor.group_checks import examine_groups
from relay.doctor.redis_checks import examine_worker
from relay.doctor.shard_checks import examine_number, examine_shards, fill_findings, spread_findings
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.rights.rules import relay_rule
from relay.store.sharding.growth.state import decide, note_growth, note_time, read_growth
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.primaries import Primaries, primaries_of
from relay.store.sharding.shards import Shards, open_shards
from tests.clusters import clusters
from tests.store.rights.test_check import user_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.doctor.finding import Finding
    from relay.store.driver.client import Redis

CONFIG = parse_config('[[topics]]\nname = "support"\nevents = ["*"]\n')


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


def about(findings: list[Finding], area: str) -> list[str]:
    return [finding.what for finding in findings if finding.area == area]


async def test_shards_on_one_server_are_examined_once(shards: Shards) -> None:
    async def examined() -> list[Finding]:
        return await examine_shards(shards.home, Settings(), CONFIG)

    found = await examined()
    assert len([what for what in about(found, "Redis") if "append-only" in what or "appendonly" in what]) == 1
    assert about(found, "shards") == []
    await shards.all[2].xadd(shards.all[2].key.topic("support"), {"id": "e"})
    assert about(await examined(), "shards")[0].startswith("shard 2 has the most of the topics, 100% of ")


async def test_worker_must_serve_the_shards_in_use(redis: Redis, shards: Shards) -> None:
    async def examined() -> list[Finding]:
        return await examine_worker(shards.home, is_full=False, settings=Settings())

    [nothing] = about(await examined(), "worker")
    assert nothing.startswith("no worker is running: ")
    for number, shard in enumerate(shards.all):
        await shard.set(f"{shard.key.queue}:health-check", "alive")
        if number == 1:
            [found] = await examined()
            assert found.what == "no worker serves shards 2, 3: events are accepted there, but not routed or delivered"
            assert found.remedy == "restart the workers with RELAY_SHARDS=4"
            await require_number_of_shards(redis)  # the relay has one, and is to grow
            assert about(await examined(), "worker") == ["a worker is running"]
            await redis.delete(redis.key.shards)
    assert about(await examined(), "worker") == ["a worker is running"]


async def test_unfinished_growth_is_a_finding_with_its_command(redis: Redis, shards: Shards) -> None:
    await require_number_of_shards(redis)
    await note_growth(redis, 1, 4, 1000)
    [found] = await examine_number(redis)
    assert (found.state, found.what) == (State.WARNING, "the growth from 1 to 4 shards is prepared, and not applied")
    assert found.remedy.startswith("restart every process with RELAY_SHARDS=4, then run: relay shards apply (")
    growth = await read_growth(redis)
    assert growth is not None
    await decide(redis, growth, 2000)
    [found] = await examine_number(shards.home)
    assert (found.state, found.what) == (State.WARNING, "the relay grows from 1 to 4 shards")
    assert found.remedy == "workers do what is left; relay shards apply tells what they wait for"
    await note_time(redis, "done", 3000)
    assert [found.what for found in await examine_number(shards.home)] == ["the relay has 4 shards"]


async def test_wrong_number_is_a_problem(redis: Redis, shards: Shards) -> None:
    assert await examine_number(redis) == [], "one shard, before the first start"
    await require_number_of_shards(shards.home)
    assert about(await examine_number(shards.home), "shards") == ["the relay has 4 shards"]
    [found] = await examine_number(redis)
    assert (found.state, found.what) == (State.PROBLEM, "RELAY_SHARDS: it is 1, but the relay has 4")
    assert found.remedy.startswith("set 4")


async def test_ghost_stream_of_any_shard_is_a_finding(shards: Shards) -> None:
    for number, group in ((1, "bot"), (3, "bot"), (3, "crm")):
        shard = shards.all[number]
        await shard.xgroup_create(shard.key.topic("suport"), group, id="0", mkstream=True)
    found = about(await examine_groups(shards.home, CONFIG, "default", 0), "topic suport")
    assert len(found) == 1
    assert '(groups: bot, crm); did they mean "support"?' in found[0]


async def test_shard_with_fewer_rights_than_the_first_is_a_problem(
    redis: Redis, redis_url: str, shards: Shards
) -> None:
    url = f"redis://relay:secret@127.0.0.1:{urlsplit(redis_url).port}/0"
    rules = [str(relay_rule(*(shard.key for shard in shards.all[:number]))) for number in (1, 4)]
    async with user_with(redis, redis_url, *rules[0].split()), open_shards(url, WORKER_TIMEOUT, count=4) as limited:
        found = await examine_shards(limited.home, Settings(redis_url=url), CONFIG)
        assert len([what for what in about(found, "shards") if "refuses the relay: its user may not use" in what]) == 3
        assert all(rules[1] in each.remedy for each in found if "refuses the relay" in each.what)
        await redis.execute_command("ACL", "SETUSER", "relay", *rules[1].split())  # type: ignore[no-untyped-call]
        found = await examine_shards(limited.home, Settings(redis_url=url), CONFIG)
        assert about(found, "shards") == []


def test_uneven_spread_over_primaries_names_the_slot_to_move() -> None:
    of_shards = ["a:1", "b:1", "a:1", "a:1"]
    [found] = spread_findings(Primaries(["a:1", "b:1", "c:1"], [5, 6, 7, 8], of_shards))
    assert (found.state, "move slot 8, of shard 3, to c:1" in found.remedy) == (State.WARNING, True)
    assert "a:1 has shards 0, 2, 3; b:1 has shard 1; c:1 has none" in found.what
    [found] = spread_findings(Primaries(["a:1", "b:1"], [5, 6, 7], ["a:1", "b:1", "b:1"]))
    assert found.state is State.OK


@pytest.mark.parametrize(
    ("sizes", "state"),
    [
        ([2**20, 0, 0, 0], State.OK),
        ([2**30, 2**29, 2**29, 2**29], State.OK),
        ([2**30, 2**20, 2**20, 2**20], State.WARNING),
    ],
)
def test_shard_with_most_of_the_topics_is_a_finding(sizes: list[int], state: State) -> None:
    assert [found.state for found in fill_findings(sizes)] == [state]


@pytest.mark.slow
async def test_each_primary_is_examined_also_if_one_is_away(tmp_path: Path) -> None:
    async with (
        clusters(tmp_path / "servers", replicas=0) as cluster,
        open_shards(cluster.url, WORKER_TIMEOUT, count=8) as shards,
    ):
        settings = Settings(redis_url=cluster.url)
        primaries = await primaries_of(shards.home)
        ports = {shard: int(name.rpartition(":")[2]) for shard, name in enumerate(primaries.of_shards)}
        assert len(primaries.all) == 3
        assert ports == {shard: await cluster.owner(primaries.slots[shard]) for shard in range(8)}
        found = await examine_shards(shards.home, settings, CONFIG)
        areas = {finding.area for finding in found if finding.area.startswith("Redis ")}
        assert len(areas) == len(set(ports.values()))
        cluster.kill(next(port for port in ports.values() if port != ports[0]))
        found = await examine_shards(shards.home, settings, CONFIG)
    [away] = [each for each in found if each.state is State.PROBLEM and "events of its chats get 503" in each.what]
    assert away.area in areas
