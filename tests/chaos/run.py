"""A run: start everything, send events while faults happen, wait until everything is at rest, gather the records."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.store.driver.client import ask
from tests.chaos import gather
from tests.chaos.cluster_redis import ClusterRedis
from tests.chaos.faults.catalog import FAULTS
from tests.chaos.faults.kind import Servers
from tests.chaos.plan import seconds_of_a_round, steps
from tests.chaos.records import FaultRecord
from tests.chaos.sentinel_redis import SentinelRedis
from tests.chaos.spec import Spec
from tests.chaos.stage import open_stage
from tests.redis_server import RedisServer
from tests.support import eventually, own_address, reserve_port

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.plan import Span, Step
    from tests.chaos.records import Records
    from tests.chaos.stage import AnyServers, Stage

    Announce = Callable[[str], None]

_HELPER_TIMEOUT = 60.0
_START_TIMEOUT = 60.0  # seconds until a worker is ready
_MAX_TAIL = 900.0
"""Seconds that the sender may need beyond its own pace: for retries, and where the relay is the limit."""
_NO_PACE = 100.0  # events a second expected at least without a rate; faults continue no longer


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run."""

    events: int
    seed: int
    rate: float
    kinds: Mapping[str, Span]
    directory: Path
    ingresses: int = 2
    workers: int = 2
    fsync: str = "always"
    servers: Servers = Servers.SINGLE
    shards: int = 1
    redis_server: str | None = None
    log_level: str = "warning"
    worker_nice: int | None = None
    """None for the default."""

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the relay."""
        nice = {} if self.worker_nice is None else {"RELAY_WORKER_NICE": str(self.worker_nice)}
        return {"RELAY_LOG_LEVEL": self.log_level, **nice}

    @property
    def pace(self) -> float:
        """Events a second: `rate`, or fewer so that traffic lasts for a whole round of faults; 0 is no limit."""
        return min(self.rate, self.events / seconds_of_a_round(self.kinds)) if self.rate else 0.0


async def run_chaos(options: RunOptions, announce: Announce) -> Records:
    """Run it and return its records."""
    redis = _servers(options)
    try:
        await redis.start()
        return await _run_on(redis, options, announce)
    finally:
        await redis.kill_all()


def _servers(options: RunOptions) -> AnyServers:
    of = (options.directory / "redis", options.fsync, options.redis_server)
    match options.servers:
        case Servers.SINGLE:
            return RedisServer(*of)
        case Servers.SENTINELS:
            return SentinelRedis(*of)
        case Servers.CLUSTER:
            return ClusterRedis(*of, options.shards)


async def _run_on(redis: AnyServers, options: RunOptions, announce: Announce) -> Records:
    spec = Spec(
        directory=str(options.directory),
        seed=options.seed,
        events=options.events,
        rate=options.pace,
        ingress_port=reserve_port(),
        teams_port=reserve_port(),
        redis_url=redis.url,
        address=own_address() or "127.0.0.1",
        shards=options.shards,
    )
    spec.write()
    async with open_stage(spec, redis, options.settings) as stage:
        subscribers = await stage.helper("tests.chaos.subscribers")
        try:
            await asyncio.gather(*(stage.start("ingress") for _ in range(options.ingresses)))
            await asyncio.gather(*(stage.start("worker") for _ in range(options.workers)))
            await _wait_for_workers(stage)
            sender = await stage.helper("tests.chaos.linq")
            try:
                faults = await _flow(stage, options, sender, announce)
            finally:
                await _end(sender)
            announce("traffic has ended; all subscribers behave from now on")
            subscribers.send_signal(signal.SIGUSR1)
            unfinished = await gather.rest(stage)
            announce(f"not at rest: {unfinished}" if unfinished else "everything is at rest")
            ledger = await gather.read_ledger(stage)
            await stage.close()
        finally:
            await _end(subscribers)
        return await gather.gather(stage, unfinished, ledger, faults)


async def _wait_for_workers(stage: Stage) -> None:
    """Wait until the workers poll for work: a fault before that finds nothing to break."""

    async def are_polling() -> bool:
        clients = [client for server in servers for client in await ask(server.client_list())]
        names = [str(client["name"]) for client in clients]
        return sum(name.endswith("-arq") for name in names) >= len(stage.processes("worker")) * stage.spec.shards

    async with stage.servers() as servers:
        await eventually(are_polling, _START_TIMEOUT)


async def _flow(stage: Stage, options: RunOptions, sender: Process, announce: Announce) -> list[FaultRecord]:
    """Cause faults while new events flow and until every kind happened once; then wait for the sender."""
    faults: list[FaultRecord] = []
    began = time.monotonic()
    sending = asyncio.create_task(sender.wait())
    last_new = began + options.events / (options.pace or _NO_PACE)
    latest = last_new + seconds_of_a_round(options.kinds) + _MAX_TAIL
    under_way: set[asyncio.Task[None]] = set()
    outages: set[asyncio.Task[None]] = set()

    async def cause(step: Step) -> None:
        fault = FAULTS[step.kind]
        async with stage.redis.in_use if fault.is_about_redis else nullcontext():
            if fault.is_about_redis:
                await stage.redis.ready()
            before = await stage.redis.primaries() if fault.is_about_redis else []
            since = time.monotonic()
            targets = await fault.act(stage, random.Random(step.dice), step.seconds)
            until = time.monotonic()
            after = await stage.redis.primaries() if before and not fault.keeps_writes else before
        moved = _moved(before, after, stage.spec.shards) if before else frozenset()
        if fault.is_outage:
            await stage.redis.returned()
        faults.append(FaultRecord(step.kind, since, time.monotonic(), targets, moved, until))
        announce(f"{since - began:6.1f} s  {step.kind}, {time.monotonic() - since:.1f} s: {', '.join(targets)}")

    async with asyncio.TaskGroup() as group:
        for position, step in enumerate(steps(options.seed, options.kinds)):
            if position >= len(options.kinds) and (sending.done() or time.monotonic() > last_new):
                break
            if under_way and not step.overlaps:
                await asyncio.wait(under_way)
            if outages and FAULTS[step.kind].is_outage:
                await asyncio.wait(outages)
            if position < len(options.kinds):
                await asyncio.sleep(step.pause)
            else:
                await asyncio.wait({sending}, timeout=step.pause)
            task = group.create_task(cause(step))
            pending = outages if FAULTS[step.kind].is_outage else under_way
            pending.add(task)
            task.add_done_callback(pending.discard)
    async with asyncio.timeout(latest - time.monotonic()):
        await sending
    if sender.returncode != 0:
        raise RuntimeError(f"the sender ended with {sender.returncode}; see {stage.spec.home / 'linq.log'}")
    return faults


def _moved(before: Sequence[int], after: Sequence[int], shards: int) -> frozenset[int]:
    """Return the shards of which another server is the primary; without a cluster all are on the same one."""
    return frozenset(n for n in range(shards) if before[n % len(before)] != after[n % len(after)])


async def _end(helper: Process) -> None:
    """End a process of the suite, which then writes its report."""
    if helper.returncode is None:
        helper.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(_HELPER_TIMEOUT):
            await helper.wait()
    if helper.returncode is None:
        helper.kill()
        await helper.wait()
