"""What Redis has to be like: persistent, without eviction, new enough, writable, with room and the right time."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any

from pydantic import ByteSize
from redis.exceptions import ResponseError

from relay.core.sentinel_url import is_sentinel_url
from relay.doctor.finding import Finding, ok, problem, warning
from relay.store import keys
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from redis.asyncio import Redis

    from relay.config.settings import Settings

AREA = "Redis"
_OLDEST = (7, 0)
_FULL, _FILLING = 0.85, 0.6  # of maxmemory
_SKEW, _SOME_SKEW = 30.0, 2.0  # seconds; signatures are good for five minutes


async def examine_redis(redis: Redis, settings: Settings) -> list[Finding]:
    """What is to be said of Redis; raises what the client raises if it cannot be reached."""
    began = time.time()
    seconds, microseconds = await redis.time()
    took = time.time() - began
    info = await redis.info("everything")
    skew = seconds + microseconds / 1e6 - (began + took / 2)
    findings = [*findings_of(info), *await _fsync(redis), *replication_findings(info, settings), _clock(skew)]
    beats = await ask(redis.exists(f"{keys.QUEUE}:health-check"))
    if beats:
        findings.append(ok("worker", "a worker is at work"))
    elif _share_used(info) >= 1:
        findings.append(warning("worker", "whether one is at work cannot be told: Redis is full", "make room first"))
    else:
        findings.append(problem("worker", "no worker is at work: nothing is routed or delivered", "start relay worker"))
    return findings


def _share_used(info: Mapping[str, Any]) -> float:
    """The part of maxmemory that is used; 0 without a limit."""
    return int(info.get("used_memory", 0)) / (int(info.get("maxmemory", 0)) or inf)


async def _fsync(redis: Redis) -> list[Finding]:
    """What is to be said of appendfsync; nothing where it may not be asked for, as with many a hosted Redis."""
    try:
        policy = (await redis.config_get("appendfsync")).get("appendfsync")
    except ResponseError:
        return []
    if policy in {None, "always"}:
        return []
    what = f"appendfsync is {policy}: the last second or two may be lost when the machine dies, or Redis is killed"
    return [warning(AREA, what, "set it to always; the relay's writes share round trips, so it costs little")]


def replication_findings(info: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    """What is to be said of the replicas. Pure."""
    wanted, there = settings.relay_replicas, int(info.get("connected_slaves", 0))
    if there < wanted:
        what = f"{there} of the {wanted} replicas that RELAY_REPLICAS asks for are connected: Linq is answered 503"
        yield problem(AREA, what, "start the replicas, or lower RELAY_REPLICAS")
    elif wanted:
        yield ok(AREA, f"{there} replicas are connected, of which {wanted} must have an event before Linq is answered")
    elif there or is_sentinel_url(settings.redis_url or ""):
        what = "what was answered 200 in the last moment before a failover is lost with the primary"
        yield warning(AREA, what, "set RELAY_REPLICAS to 1")


def findings_of(info: Mapping[str, Any]) -> Iterator[Finding]:
    """What `INFO everything` says. Pure."""
    version = str(info.get("valkey_version") or info.get("redis_version") or "0")
    name = "Valkey" if info.get("valkey_version") else "Redis"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _OLDEST:
        yield problem(AREA, f"{name} {version} is too old", "use Redis or Valkey 7.0 or newer")
    else:
        yield ok(AREA, f"{name} {version}")
    if info.get("cluster_enabled"):
        yield problem(AREA, "it is a cluster", "use one primary, with Sentinel for failover")
    if info.get("role") == "slave":
        yield problem(AREA, "it is a replica, which takes no writes", "point REDIS_URL at the primary")
    yield _persistence(info)
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        yield problem(AREA, f"maxmemory-policy is {policy}: Redis may throw events away", "set it to noeviction")
    yield _memory(info)


def _persistence(info: Mapping[str, Any]) -> Finding:
    if not info.get("aof_enabled"):
        what = "appendonly is off: what was answered 200 is lost when Redis dies"
        return problem(AREA, what, "CONFIG SET appendonly yes, and in redis.conf")
    bad = [key for key in ("aof_last_write_status", "aof_last_bgrewrite_status") if info.get(key, "ok") != "ok"]
    if bad:
        return problem(AREA, f"{bad[0]} is {info[bad[0]]}: it cannot write its file", "look at its disk and its log")
    return ok(AREA, "the append-only file is on and written")


def _memory(info: Mapping[str, Any]) -> Finding:
    total = int(info.get("total_system_memory", 0))
    said = ByteSize(int(info.get("used_memory", 0))).human_readable()
    if not int(info.get("maxmemory", 0)):
        room = f"; the machine has {ByteSize(total).human_readable()}" if total else ""
        what = f"{said} used, without a limit{room}"
        return warning(AREA, what, "set maxmemory: Redis then refuses (503, Linq tries again) where it would be killed")
    share = _share_used(info)
    what = f"{said} used, {share:.0%} of maxmemory"
    if share > _FULL:
        return problem(AREA, what, "raise maxmemory, or lower keep and size of topics; relay topics shows them")
    if share > _FILLING:
        return warning(AREA, what, "watch it; relay topics shows what is large")
    return ok(AREA, what)


def _clock(skew: float) -> Finding:
    what = f"its clock and ours differ by {abs(skew):.1f} s"
    if abs(skew) > _SKEW:
        return problem("clock", what, "run NTP on both: a clock that is off makes Linq's signatures look stale")
    if abs(skew) > _SOME_SKEW:
        return warning("clock", what, "run NTP on both")
    return ok("clock", what)
