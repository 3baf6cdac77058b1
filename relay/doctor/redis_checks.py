"""Checks of Redis: version, role, persistence, eviction, memory, replicas and clock; and that a worker is running."""

from __future__ import annotations

import time
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import ByteSize
from redis.exceptions import NoPermissionError, ResponseError

from relay.core.redis_url.cluster import is_cluster_url
from relay.core.redis_url.sentinel import is_sentinel_url
from relay.doctor.finding import Finding, not_checked, ok, problem, warning
from relay.store.driver.client import ask
from relay.store.driver.persistence import failing_writes
from relay.store.rights.explanation import CLUSTER_URL, explain
from relay.store.sharding.growth.state import number_in_use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from relay.config.settings import Settings
    from relay.store.driver.client import Redis

AREA = "Redis"
_MIN_VERSION = (7, 0)
_MEMORY_PROBLEM, _MEMORY_WARNING = 0.85, 0.6  # of maxmemory
_SKEW_PROBLEM, _SKEW_WARNING = 30.0, 2.0  # seconds; signatures are valid for five minutes


class Check(NamedTuple):
    """A check of the output of `INFO everything`."""

    area: str
    name: str
    fields: tuple[str, ...]
    """The fields that it needs; some hosted Redis services leave some of them out."""
    examine: Callable[[Mapping[str, Any]], Iterable[Finding]]


async def examine_redis(redis: Redis, settings: Settings) -> list[Finding]:
    """Return the findings about Redis and the worker; raises the error of the client if Redis cannot be reached.

    A check that Redis does not allow is a finding too, with the right that it needs.
    """
    server = await examine_server(redis, settings)
    return [*server.findings, *await examine_worker(redis, server.is_full, settings)]


class Server(NamedTuple):
    """A server of Redis."""

    findings: list[Finding]
    is_full: bool
    """True if it has reached maxmemory."""


async def examine_server(redis: Redis, settings: Settings) -> Server:
    """Return the findings about the server of a shard; otherwise like `examine_redis`."""
    user = urlsplit(settings.redis_url or "").username or "default"
    refusal: tuple[str, str] | None = None
    began = time.time()
    try:
        info = await redis.info("everything")
        if redis.key.is_tagged:
            info.pop("cluster_enabled", None)  # as REDIS_URL says
    except ResponseError as error:
        info, refusal = {}, _refusal(error, "INFO", user, "+info")
    clock = partial(_clock, here=(began + time.time()) / 2)
    checks = (
        *CHECKS,
        Check(AREA, "replicas", ("connected_slaves",), partial(replication_findings, settings=settings)),
        Check("clock", "difference of the clocks", ("server_time_usec",), clock),
    )
    findings = list(findings_of(info, checks, refusal))
    return Server(findings + await _fsync(redis, user), _share_used(info) >= 1)


def _refusal(error: ResponseError, command: str, user: str, right: str) -> tuple[str, str]:
    """Return why Redis did not run `command`, and the remedy."""
    if isinstance(error, NoPermissionError):
        return f"Redis refuses {command} to this user", f"to have it checked, run: ACL SETUSER {user} {right}"
    if (said := explain(error)).remedy:
        return said
    return f"this Redis does not offer {command}", "check it in the console of the provider of this Redis"


async def examine_worker(redis: Redis, is_full: bool, settings: Settings) -> list[Finding]:  # noqa: FBT001
    """Return the findings about the worker, which serves all shards: those in use, while the relay grows to more."""
    user = urlsplit(settings.redis_url or "").username or "default"
    try:
        shards = redis.shards[: await number_in_use(redis)]
        without = [n for n, s in enumerate(shards) if not await ask(s.exists(f"{s.key.queue}:health-check"))]
    except ResponseError as error:
        return [not_checked("worker", "running worker", *_refusal(error, "EXISTS", user, "+exists"))]
    if not without:
        return [ok("worker", "a worker is running")]
    if is_full:
        what = "cannot tell if a worker is running: Redis is full, so heartbeats cannot be written"
        return [warning("worker", what, "free memory in Redis first, or raise maxmemory")]
    if len(without) < len(shards):
        what = f"no worker serves {named_shards(without)}: events are accepted there, but not routed or delivered"
        return [problem("worker", what, f"restart the workers with RELAY_SHARDS={len(shards)}")]
    what = "no worker is running: events are accepted, but not routed or delivered"
    return [problem("worker", what, "start one: relay worker")]


def named_shards(numbers: Sequence[int]) -> str:
    """Return the shards with these numbers in words."""
    if not numbers:
        return "none"
    return f"shard{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def _share_used(info: Mapping[str, Any]) -> float:
    """Return the used share of maxmemory; 0 without a limit."""
    return int(info.get("used_memory", 0)) / (int(info.get("maxmemory", 0)) or inf)


async def _fsync(redis: Redis, user: str) -> list[Finding]:
    """Warn if appendfsync is not `always`."""
    try:
        policy = (await redis.config_get("appendfsync")).get("appendfsync")
    except ResponseError as error:
        why, remedy = _refusal(error, "CONFIG GET", user, "+config|get")
        return [not_checked(AREA, "appendfsync", why, remedy)]
    if policy in {None, "always"}:
        return []
    what = f"appendfsync is {policy}: the last one or two seconds can be lost if the machine crashes or Redis is killed"
    remedy = (
        "CONFIG SET appendfsync always, and in redis.conf; it costs little, as the relay's writes share round trips"
    )
    return [warning(AREA, what, remedy)]


def replication_findings(info: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    """Yield the finding about the number of replicas; none if a plain Redis has none and needs none. Pure."""
    required, connected = settings.relay_replicas, int(info.get("connected_slaves", 0))
    if connected < required:
        what = f"{connected} of the {required} replicas that RELAY_REPLICAS requires are connected: Linq gets 503"
        yield problem(AREA, what, "start the missing replicas, or lower RELAY_REPLICAS")
    elif required:
        yield ok(AREA, f"replicas connected: {connected}; {required} must confirm each event before Linq gets 200")
    elif connected or is_sentinel_url(settings.redis_url or ""):
        what = "events accepted just before a failover are lost with the primary"
        yield warning(AREA, what, "set RELAY_REPLICAS=1")
    elif is_cluster_url(settings.redis_url or ""):
        what = "no replica of this primary is connected: if it fails, no other has its events, and its slots are down"
        yield warning(AREA, what, "start its replica, or give it one (CLUSTER REPLICATE), and set RELAY_REPLICAS=1")


def findings_of(
    info: Mapping[str, Any], checks: Iterable[Check] | None = None, refusal: tuple[str, str] | None = None
) -> Iterator[Finding]:
    """Yield the findings of `checks` (by default `CHECKS`) about the output of `INFO everything`. Pure.

    `refusal` is the reason why there is no output, and the remedy.
    """
    for check in CHECKS if checks is None else checks:
        hidden = ", ".join(name for name in check.fields if name not in info)
        if refusal:
            yield not_checked(check.area, check.name, *refusal)
        elif hidden:
            why, remedy = f"INFO of this Redis has no {hidden}", "check it in the console of the provider of this Redis"
            yield not_checked(check.area, check.name, why, remedy)
        else:
            yield from check.examine(info)


def _name(info: Mapping[str, Any]) -> str:
    return "Valkey" if info.get("valkey_version") else "Redis"


def _version(info: Mapping[str, Any]) -> Iterator[Finding]:
    version = str(info.get("valkey_version") or info["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _MIN_VERSION:
        yield problem(AREA, f"{_name(info)} {version} is too old", "upgrade to Redis or Valkey 7.0 or later")
    else:
        yield ok(AREA, f"{_name(info)} {version}")


def _role(info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("cluster_enabled"):
        yield problem(
            AREA,
            f"{_name(info)} runs in cluster mode, and REDIS_URL is not that of a cluster",
            f"begin REDIS_URL with {CLUSTER_URL}",
        )
    elif info["role"] == "slave":
        yield problem(AREA, "REDIS_URL points at a replica, which rejects writes", "point REDIS_URL at the primary")


def _persistence(info: Mapping[str, Any]) -> Iterator[Finding]:
    bad = failing_writes(info)
    if not info["aof_enabled"]:
        what = "appendonly is off: accepted events are lost when Redis crashes"
        yield problem(AREA, what, "CONFIG SET appendonly yes, and in redis.conf")
    elif bad:
        yield problem(
            AREA,
            f"{bad[0]} is {info[bad[0]]}: Redis cannot write its append-only file",
            "check the disk and the log of Redis",
        )
    else:
        yield ok(AREA, "the append-only file is enabled and being written")


def _eviction(info: Mapping[str, Any]) -> Iterator[Finding]:
    policy = info["maxmemory_policy"]
    if policy != "noeviction":
        what = f"maxmemory-policy is {policy}: Redis can evict events when memory is full"
        yield problem(AREA, what, "CONFIG SET maxmemory-policy noeviction, and in redis.conf")


def _memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    total = int(info.get("total_system_memory", 0))
    used = ByteSize(int(info.get("used_memory", 0))).human_readable()
    if not int(info.get("maxmemory", 0)):
        room = f"; the machine has {ByteSize(total).human_readable()}" if total else ""
        what = f"{used} used, no maxmemory limit{room}"
        remedy = (
            "set maxmemory: near the limit the relay responds 503 and Linq retries, where the kernel would kill Redis"
        )
        yield warning(AREA, what, remedy)
        return
    share = _share_used(info)
    what = f"{used} used, {share:.0%} of maxmemory"
    if share > _MEMORY_PROBLEM:
        yield problem(
            AREA, what, "raise maxmemory, or lower keep and size of the largest topics; list them with: relay topics"
        )
    elif share > _MEMORY_WARNING:
        yield warning(AREA, what, "plan for more memory; list the largest topics with: relay topics")
    else:
        yield ok(AREA, what)


def _clock(info: Mapping[str, Any], here: float) -> Iterator[Finding]:
    """Compare the clocks; `here` is the time on this machine, Unix seconds, at which Redis answered."""
    skew = int(info["server_time_usec"]) / 1e6 - here
    what = f"the clocks of Redis and this machine differ by {abs(skew):.1f} s"
    if abs(skew) > _SKEW_PROBLEM:
        yield problem(
            "clock", what, "run NTP on both machines: with a wrong clock, valid signatures of Linq look expired"
        )
    elif abs(skew) > _SKEW_WARNING:
        yield warning("clock", what, "run NTP on both machines")
    else:
        yield ok("clock", what)


CHECKS = (
    Check(AREA, "version", ("redis_version",), _version),
    Check(AREA, "role and cluster mode", ("role",), _role),
    Check(AREA, "persistence", ("aof_enabled",), _persistence),
    Check(AREA, "maxmemory-policy", ("maxmemory_policy",), _eviction),
    Check(AREA, "memory", ("used_memory", "maxmemory"), _memory),
)
