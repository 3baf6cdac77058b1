from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.config.settings import Settings
from relay.doctor.finding import State
from relay.doctor.redis_checks import examine_redis, findings_of, replication_findings
from relay.store import keys

if TYPE_CHECKING:
    from redis.asyncio import Redis

GOOD: dict[str, Any] = {
    "redis_version": "7.4.1",
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "maxmemory_policy": "noeviction",
    "maxmemory": 1000,
    "used_memory": 100,
}


def bad(info: dict[str, Any]) -> list[tuple[State, str]]:
    return [(one.state, one.what) for one in findings_of(info) if one.state is not State.OK]


def test_a_redis_as_it_should_be() -> None:
    assert bad(GOOD) == []
    assert next(one.what for one in findings_of(GOOD)) == "Redis 7.4.1"
    assert next(findings_of({**GOOD, "valkey_version": "9.0.0"})).what == "Valkey 9.0.0"


@pytest.mark.parametrize(
    ("wrong", "state", "says"),
    [
        ({"redis_version": "6.2.14"}, State.PROBLEM, "too old"),
        ({"cluster_enabled": 1}, State.PROBLEM, "cluster"),
        ({"role": "slave"}, State.PROBLEM, "replica"),
        ({"aof_enabled": 0}, State.PROBLEM, "appendonly is off"),
        ({"aof_last_write_status": "err"}, State.PROBLEM, "aof_last_write_status is err"),
        ({"maxmemory_policy": "allkeys-lru"}, State.PROBLEM, "allkeys-lru"),
        ({"maxmemory": 0, "total_system_memory": 2**30}, State.WARNING, "the machine has 1.0GiB"),
        ({"used_memory": 700}, State.WARNING, "70% of maxmemory"),
        ({"used_memory": 900}, State.PROBLEM, "90% of maxmemory"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, Any], state: State, says: str) -> None:
    [(found, what)] = bad({**GOOD, **wrong})
    assert found is state
    assert says in what


async def test_a_real_one(redis: Redis) -> None:
    found = {one.what: one for one in await examine_redis(redis, Settings())}
    assert not [one for one in found.values() if one.state is State.PROBLEM and one.area != "worker"]
    assert any(what.startswith("its clock and ours differ by 0.0") for what in found)
    assert "no worker is at work: nothing is routed or delivered" in found
    assert any(what.startswith("appendfsync is everysec: the last second or two may be lost") for what in found)
    await redis.set(f"{keys.QUEUE}:health-check", "alive")
    assert "a worker is at work" in {one.what for one in await examine_redis(redis, Settings())}


@pytest.mark.parametrize(
    ("wanted", "there", "url", "state", "says"),
    [
        (2, 1, "redis://a", State.PROBLEM, "1 of the 2 replicas"),
        (1, 2, "redis://a", State.OK, "2 replicas are connected, of which 1 must have an event"),
        (0, 1, "redis://a", State.WARNING, "before a failover is lost"),
        (0, 0, "redis+sentinel://a/m", State.WARNING, "before a failover is lost"),
    ],
)
def test_how_many_replicas_have_to_confirm(wanted: int, there: int, url: str, state: State, says: str) -> None:
    settings = Settings(relay_replicas=wanted, redis_url=url)
    [found] = replication_findings({"connected_slaves": there}, settings)
    assert found.state is state
    assert says in found.what


def test_a_redis_without_replicas_of_which_none_are_wanted_needs_no_word() -> None:
    assert not list(replication_findings({"connected_slaves": 0}, Settings()))
