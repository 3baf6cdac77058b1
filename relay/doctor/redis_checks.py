"""Checks of Redis: version, role, persistence, eviction, memory, replicas and clock; and that a worker is running."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any

from pydantic import ByteSize
from redis.exceptions import ResponseError

from relay.core.redis_url.sentinel import is_sentinel_url
from relay.doctor.finding import Finding, ok, problem, warning
from relay.store import keys
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from redis.asyncio import Redis

    from relay.config.settings import Settings

AREA = "Redis"
_MIN_VERSION = (7, 0)
_MEMORY_PROBLEM, _MEMORY_WARNING = 0.85, 0.6  # of maxmemory
_SKEW_PROBLEM, _SKEW_WARNING = 30.0, 2.0  # seconds; signatures are valid for five minutes


async def examine_redis(redis: Redis, settings: Settings) -> list[Finding]:
    """Return the findings about Redis and the worker; raises the error of the client if Redis cannot be reached."""
    began = time.time()
    seconds, microseconds = await redis.time()
    took = time.time() - began
    info = await redis.info("everything")
    skew = seconds + microseconds / 1e6 - (began + took / 2)
    findings = [*findings_of(info), *await _fsync(redis), *replication_findings(info, settings), _clock(skew)]
    has_worker = await ask(redis.exists(f"{keys.QUEUE}:health-check"))
    if has_worker:
        findings.append(ok("worker", "a worker is running"))
    elif _share_used(info) >= 1:
        what = "cannot tell if a worker is running: Redis is full, so heartbeats cannot be written"
        findings.append(warning("worker", what, "free memory in Redis first, or raise maxmemory"))
    else:
        what = "no worker is running: events are accepted, but not routed or delivered"
        findings.append(problem("worker", what, "start one: relay worker"))
    return findings


def _share_used(info: Mapping[str, Any]) -> float:
    """Return the used share of maxmemory; 0 without a limit."""
    return int(info.get("used_memory", 0)) / (int(info.get("maxmemory", 0)) or inf)


async def _fsync(redis: Redis) -> list[Finding]:
    """Warn if appendfsync is not `always`; return nothing if CONFIG GET is denied, as at many hosted Redis services."""
    try:
        policy = (await redis.config_get("appendfsync")).get("appendfsync")
    except ResponseError:
        return []
    if policy in {None, "always"}:
        return []
    what = f"appendfsync is {policy}: the last one or two seconds can be lost if the machine crashes or Redis is killed"
    remedy = (
        "CONFIG SET appendfsync always, and in redis.conf; it costs little, as the relay's writes share round trips"
    )
    return [warning(AREA, what, remedy)]


def replication_findings(info: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    """Yield the finding about the number of replicas; none if there are none and none are required. Pure."""
    required, connected = settings.relay_replicas, int(info.get("connected_slaves", 0))
    if connected < required:
        what = f"{connected} of the {required} replicas that RELAY_REPLICAS requires are connected: Linq gets 503"
        yield problem(AREA, what, "start the missing replicas, or lower RELAY_REPLICAS")
    elif required:
        yield ok(AREA, f"replicas connected: {connected}; {required} must confirm each event before Linq gets 200")
    elif connected or is_sentinel_url(settings.redis_url or ""):
        what = "events accepted just before a failover are lost with the primary"
        yield warning(AREA, what, "set RELAY_REPLICAS=1")


def findings_of(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the findings about the output of `INFO everything`. Pure."""
    version = str(info.get("valkey_version") or info.get("redis_version") or "0")
    name = "Valkey" if info.get("valkey_version") else "Redis"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _MIN_VERSION:
        yield problem(AREA, f"{name} {version} is too old", "upgrade to Redis or Valkey 7.0 or later")
    else:
        yield ok(AREA, f"{name} {version}")
    if info.get("cluster_enabled"):
        yield problem(
            AREA,
            f"{name} runs in cluster mode, which the relay does not support",
            "use one primary, with Sentinel for failover",
        )
    if info.get("role") == "slave":
        yield problem(AREA, "REDIS_URL points at a replica, which rejects writes", "point REDIS_URL at the primary")
    yield _persistence(info)
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        what = f"maxmemory-policy is {policy}: Redis can evict events when memory is full"
        yield problem(AREA, what, "CONFIG SET maxmemory-policy noeviction, and in redis.conf")
    yield _memory(info)


def _persistence(info: Mapping[str, Any]) -> Finding:
    if not info.get("aof_enabled"):
        what = "appendonly is off: accepted events are lost when Redis crashes"
        return problem(AREA, what, "CONFIG SET appendonly yes, and in redis.conf")
    bad = [key for key in ("aof_last_write_status", "aof_last_bgrewrite_status") if info.get(key, "ok") != "ok"]
    if bad:
        return problem(
            AREA,
            f"{bad[0]} is {info[bad[0]]}: Redis cannot write its append-only file",
            "check the disk and the log of Redis",
        )
    return ok(AREA, "the append-only file is enabled and being written")


def _memory(info: Mapping[str, Any]) -> Finding:
    total = int(info.get("total_system_memory", 0))
    used = ByteSize(int(info.get("used_memory", 0))).human_readable()
    if not int(info.get("maxmemory", 0)):
        room = f"; the machine has {ByteSize(total).human_readable()}" if total else ""
        what = f"{used} used, no maxmemory limit{room}"
        remedy = (
            "set maxmemory: near the limit the relay responds 503 and Linq retries, where the kernel would kill Redis"
        )
        return warning(AREA, what, remedy)
    share = _share_used(info)
    what = f"{used} used, {share:.0%} of maxmemory"
    if share > _MEMORY_PROBLEM:
        return problem(
            AREA, what, "raise maxmemory, or lower keep and size of the largest topics; list them with: relay topics"
        )
    if share > _MEMORY_WARNING:
        return warning(AREA, what, "plan for more memory; list the largest topics with: relay topics")
    return ok(AREA, what)


def _clock(skew: float) -> Finding:
    what = f"the clocks of Redis and this machine differ by {abs(skew):.1f} s"
    if abs(skew) > _SKEW_PROBLEM:
        return problem(
            "clock", what, "run NTP on both machines: with a wrong clock, valid signatures of Linq look expired"
        )
    if abs(skew) > _SKEW_WARNING:
        return warning("clock", what, "run NTP on both machines")
    return ok("clock", what)
