"""The parts of topics on several shards are read as one: each entry once, in order, from any place."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from relay.store.sharding.streams import merged_shards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from relay.store.driver.client import Redis
    from relay.store.driver.merged_streams import Place

COUNT = 120


@pytest.fixture
async def shards(redis: Redis, redis_url: str) -> AsyncIterator[Shards]:
    """Return three shards with entries in two topics, many of them with equal ids."""
    del redis
    chance = random.Random(7)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=3) as shards:
        for shard in shards.all:
            for stream in topics(shard).values():
                for number in sorted(chance.sample(range(1, 2 * COUNT), COUNT)):
                    await shard.xadd(stream, {"id": f"{shard.key.name} {number}"}, id=f"{number}-1")
        yield shards


def topics(shard: Redis) -> Mapping[str, str]:
    return {name: shard.key.topic(name) for name in ("calls", "messages")}


def order(place: Place) -> tuple[int, str]:
    return int(place.id.partition("-")[0]), place.name


async def test_each_entry_comes_once_in_order(shards: Shards) -> None:
    entries = [entry async for entry in merged_shards(shards, topics)]
    places = [entry.place for entry in entries]
    assert len(set(places)) == len(places) == 3 * 2 * COUNT
    assert places == sorted(places, key=order)
    assert {place.name for place in places} == {
        f"{name}{shard}" for name in ("calls", "messages") for shard in ("", "/1", "/2")
    }
    for entry in entries:
        _, slash, shard = entry.place.name.partition("/")
        assert entry.fields[b"id"].decode().split()[0] == f"relay{slash}{shard}"


async def test_newest_first_is_the_other_way_round_by_time(shards: Shards) -> None:
    times = [int(entry.place.id[:-2]) async for entry in merged_shards(shards, topics, newest_first=True)]
    assert times == sorted(times, reverse=True)
    assert len(times) == 3 * 2 * COUNT


@pytest.mark.parametrize("newest_first", [False, True])
async def test_reading_goes_on_after_any_place(shards: Shards, newest_first: bool) -> None:  # noqa: FBT001
    places = [entry.place async for entry in merged_shards(shards, topics, newest_first=newest_first)]
    for at in range(0, len(places), 23):
        rest = merged_shards(shards, topics, newest_first=newest_first, after=places[at])
        assert [entry.place async for entry in rest] == places[at + 1 :]


async def test_bounds_hold_on_each_shard(shards: Shards) -> None:
    found = [int(entry.place.id[:-2]) async for entry in merged_shards(shards, topics, since="50", until="60")]
    assert found
    assert all(50 <= number <= 60 for number in found)


async def test_one_shard_has_the_places_that_there_were_without(shards: Shards) -> None:
    async for entry in merged_shards(Shards((shards.home,)), topics):
        assert entry.place.name in {"calls", "messages"}
