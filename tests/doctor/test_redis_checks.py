from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.config.settings import Settings
from relay.doctor.finding import State
from relay.doctor.redis_checks import examine_redis, findings_of, replication_findings
from relay.store.rights.rules import relay_rule
from tests.store.rights.test_check import user_with
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

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


def bad_findings(info: dict[str, Any]) -> list[tuple[State, str]]:
    return [(finding.state, finding.what) for finding in findings_of(info) if finding.state is not State.OK]


def test_well_configured_redis_has_no_findings() -> None:
    assert bad_findings(GOOD) == []
    assert next(findings_of(GOOD)).what == "Redis 7.4.1"
    assert next(findings_of({**GOOD, "valkey_version": "9.0.0"})).what == "Valkey 9.0.0"


@pytest.mark.parametrize(
    ("wrong", "state", "text"),
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
def test_each_wrong_setting_is_one_finding(wrong: dict[str, Any], state: State, text: str) -> None:
    [(found, what)] = bad_findings({**GOOD, **wrong})
    assert found is state
    assert text in what


async def test_examine_real_redis(redis: Redis) -> None:
    found = {finding.what: finding for finding in await examine_redis(redis, Settings())}
    assert not [finding for finding in found.values() if finding.state is State.PROBLEM and finding.area != "worker"]
    assert any(what.startswith("the clocks of Redis and this machine differ by 0.0") for what in found)
    assert "no worker is running: events are accepted, but not routed or delivered" in found
    assert any(what.startswith("appendfsync is everysec: the last one or two seconds can be lost") for what in found)
    await redis.set(f"{KEYS.queue}:health-check", "alive")
    assert "a worker is running" in {finding.what for finding in await examine_redis(redis, Settings())}


@pytest.mark.parametrize(
    ("required", "connected", "url", "state", "text"),
    [
        (2, 1, "redis://a", State.PROBLEM, "1 of the 2 replicas"),
        (1, 2, "redis://a", State.OK, "replicas connected: 2; 1 must confirm each event"),
        (0, 1, "redis://a", State.WARNING, "before a failover are lost"),
        (0, 0, "redis+sentinel://a/m", State.WARNING, "before a failover are lost"),
        (0, 0, "redis+cluster://a", State.WARNING, "no replica of this primary is connected"),
    ],
)
def test_replica_count_is_checked(required: int, connected: int, url: str, state: State, text: str) -> None:
    settings = Settings(relay_replicas=required, redis_url=url)
    [found] = replication_findings({"connected_slaves": connected}, settings)
    assert found.state is state
    assert text in found.what


def test_no_replicas_and_none_required_is_no_finding() -> None:
    assert not list(replication_findings({"connected_slaves": 0}, Settings()))


async def states(redis: Redis) -> dict[str, State]:
    """Return the states of the findings about Redis as the user of `redis`, by the first words of each."""
    found = await examine_redis(redis, Settings(redis_url="redis://relay:secret@127.0.0.1"))
    return {finding.what.partition(" not checked")[0]: finding.state for finding in found}


async def test_documented_rights_leave_out_one_check(redis: Redis, redis_url: str) -> None:
    async with user_with(redis, redis_url, *str(relay_rule(KEYS)).split()) as client:
        found = await examine_redis(client, Settings(redis_url="redis://relay:secret@127.0.0.1"))
    [unchecked] = [finding for finding in found if finding.state is State.NOT_CHECKED]
    assert unchecked.what == "appendfsync not checked: Redis refuses CONFIG GET to this user"
    assert "ACL SETUSER relay +config|get" in unchecked.remedy
    assert any(finding.area == "clock" and finding.state is State.OK for finding in found)


async def test_checks_without_info_are_named_one_by_one(redis: Redis, redis_url: str) -> None:
    async with user_with(redis, redis_url, "~*", "+@all", "-info", "-exists") as client:
        found = await states(client)
    unchecked = {what for what, state in found.items() if state is State.NOT_CHECKED}
    assert unchecked == {
        *("version", "role and cluster mode", "persistence", "maxmemory-policy", "memory", "replicas"),
        *("difference of the clocks", "running worker"),
    }
    assert any(what.startswith("appendfsync is everysec") for what in found)


def test_field_that_a_hosted_redis_hides_is_not_checked() -> None:
    hidden = ("aof_enabled", "maxmemory_policy", "role", "maxmemory")
    found = list(findings_of({name: value for name, value in GOOD.items() if name not in hidden}))
    assert [finding.state for finding in found if finding.area == "Redis"] == [State.OK, *[State.NOT_CHECKED] * 4]
    assert "maxmemory-policy not checked: INFO of this Redis has no maxmemory_policy" in {each.what for each in found}
