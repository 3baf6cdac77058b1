from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from relay.config.settings import Settings
from relay.store.wakeups import PARTITIONS
from tests.bench.capacity import COSTS, FILLED, MAX_SHARDS, SHARD_MEMORY, SHARE, Traffic, machines_for, table

SMALL = Traffic(10, 1, pushes=2)


def test_small_relay_has_one_shard_and_two_processes_of_each_kind() -> None:
    found = machines_for(SMALL)
    assert (found.relays, found.shards, found.ingresses, found.workers, found.subscriptions) == (1, 1, 2, 2, 2)
    assert found.memory == pytest.approx(10 * 86_400 * (2 * 2000 + 0.25 * 170) + 2 * 8 * 2**20)
    assert found.shard_memory == pytest.approx(found.memory / FILLED)
    assert found.cores == pytest.approx(10 * (39 + 18 + 2 * 59 + 10 + 2 * 10 + 2 * 19) / 1e6)


def test_memory_makes_shards() -> None:
    found = machines_for(replace(SMALL, rate=1000, days=3))
    assert found.shards > 1
    assert SHARD_MEMORY / 2 < found.shard_memory <= SHARD_MEMORY


def test_cpu_of_redis_makes_shards_where_little_is_kept() -> None:
    found = machines_for(Traffic(100_000, 0.0001, pulls=1, window=0.0001))
    assert found.shards == 11  # 10.1 by the CPU: 1.4 times 36 us of each event, half a core each
    assert found.ingresses == 11


@pytest.mark.parametrize("rate", [1_000, 10_000, 100_000, 1_000_000])
def test_bounds_of_a_relay_hold(rate: float) -> None:
    for traffic in (Traffic(rate, 0.01, pushes=3), Traffic(rate, 0.25, pulls=1)):
        found = machines_for(traffic)
        assert found.shards <= found.relays * MAX_SHARDS
        deliveries = rate * traffic.pushes * COSTS.push / 1e6 / SHARE
        assert deliveries <= found.relays * PARTITIONS
        assert found.workers >= 2 * found.relays


def test_more_traffic_never_needs_less() -> None:
    found = [machines_for(Traffic(rate, 0.1, pushes=2)) for rate in (10, 100, 1_000, 10_000, 100_000, 1_000_000)]
    for few, more in pairwise(found):
        assert all(less <= greater for less, greater in zip(few[:3], more[:3], strict=True))
        assert (few.ingresses, few.workers, few.cores) <= (more.ingresses, more.workers, more.cores)


def test_relay_can_have_as_many_shards_as_the_model_says() -> None:
    [most] = [bound.le for bound in Settings.model_fields["relay_shards"].metadata if hasattr(bound, "le")]
    assert most == MAX_SHARDS


def test_table_has_a_cell_for_each_heading() -> None:
    lines = table()
    assert len({line.count("|") for line in lines}) == 1
    assert any(line.startswith("| 1,000,000 ") for line in lines)
