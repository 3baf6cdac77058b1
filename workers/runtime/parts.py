"""The parts of a worker process, and the only code that touches arq's untyped `ctx`."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from relay.config.file import ConfigFile
from relay.core.lazy_modules import LazyModule
from relay.metrics import declared
from relay.metrics.process_metrics import ProcessMetrics
from relay.metrics.worker_metrics import WorkerMetrics
from relay.parts import open_store
from relay.process.imports import OnFirstUse
from relay.process.timings import DEFAULTS, Timings
from relay.rules.cipher import cipher_of
from relay.rules.merged import MergedRules
from relay.store.ledger.kept import KeptStates
from relay.store.rights.watch import RightsWatch
from workers.delivery.partition_worker import PartitionWorker, Shard
from workers.maintenance.alerting import Alerting
from workers.maintenance.backfill.backfiller import Backfiller
from workers.maintenance.growing import Growing
from workers.maintenance.linq.drift_check import DriftCheck
from workers.maintenance.linq.reactions import LinqReactions
from workers.maintenance.replayer import Replayer
from workers.maintenance.sweeper import Sweeper
from workers.routing.router import Router
from workers.runtime.readiness import WorkerReadiness
from workers.runtime.without_arq import Partitions
from workers.transport.pool import ConnectionPools
from workers.transport.sender import Sender
from workers.transport.shortage import most_connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.config.settings import Settings
    from relay.process.telemetry.spans import Tracer
    from relay.store.driver.client import Redis
    from workers.maintenance import retention
else:
    retention = LazyModule("workers.maintenance.retention")  # 11 modules, for work that begins after a minute

_PARTS = "parts"


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """Objects that the jobs of a worker process share: those of one shard."""

    settings: Settings
    redis: Redis
    """The client of the shard."""
    rules: MergedRules
    router: Router
    partition_worker: PartitionWorker
    replayer: Replayer
    sweeper: Sweeper
    drift_check: DriftCheck
    reactions: LinqReactions
    growing: Growing
    trimming: OnFirstUse[retention.Retention]
    readiness: WorkerReadiness
    metrics: WorkerMetrics
    alerting: Alerting
    backfiller: Backfiller
    replicas: int = 0
    """Replicas that must confirm each renewal of a lease."""
    timings: Timings = DEFAULTS
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process must end: drains finish the work in hand and return."""
    without_arq: Partitions = field(default_factory=Partitions)
    """Partitions that this process drains while Redis is full."""
    home: WorkerParts | None = None
    """The parts of the first shard; None in these themselves."""
    others: list[WorkerParts] = field(default_factory=list)
    """The parts of the shards beside the first one."""

    @property
    def of_home(self) -> WorkerParts:
        """The parts of the first shard."""
        return self.home or self


def _connections(redis: Redis, timings: Timings, metrics: WorkerMetrics) -> ConnectionPools:
    return ConnectionPools(timings.keep_alive, None, most_connections(len(redis.shards)), metrics.certificate)


@asynccontextmanager
async def worker_parts(
    settings: Settings, timings: Timings = DEFAULTS, tracer: Tracer | None = None
) -> AsyncIterator[WorkerParts]:
    """Build the parts of a worker process, and close them in reverse; without `tracer` traces are off.

    Raises:
        ConfigError: relay.toml has mistakes or secrets are missing.
    """
    file = ConfigFile(settings.relay_config)
    process_metrics = ProcessMetrics("worker")
    process_metrics.watch(declared.CONFIG_RELOAD_REFUSED, lambda: file.is_refused)
    async with open_store(settings) as redis:
        rules = MergedRules(file, redis, cipher_of(settings), timings.config_poll)
        metrics = WorkerMetrics(process_metrics, lambda: rules.current.config.subscription_names)
        async with (
            rules,
            process_metrics,
            _connections(redis, timings, metrics) as connections,
            RightsWatch(redis, timings.rights_check) as rights,
        ):
            shards = tuple(Shard(shard, {}) for shard in redis.shards)
            partition_worker = PartitionWorker(
                redis,
                rules,
                Sender(connections, time.time, tracer),
                time.time,
                random.random,  # noqa: S311  jitter
                timings,
                metrics=metrics,
                receivers=shards[0].receivers,
                others=shards[1:],
                replicas=settings.relay_replicas,
            )
            rules.on_change.append(partition_worker.follow_rules)
            routers = _routers(shards, rules, settings, timings, metrics, tracer)
            kept = KeptStates(redis)
            drift_check = DriftCheck(redis, rules, settings, time.time)
            reactions = LinqReactions(redis, rules, settings, drift_check, time.time)
            home = WorkerParts(
                settings=settings,
                redis=redis,
                rules=rules,
                router=routers[0],
                partition_worker=partition_worker,
                replayer=Replayer(redis, rules, time.time, timings),
                sweeper=Sweeper(redis, rules, time.time, reactions.next_look, kept),
                drift_check=drift_check,
                reactions=reactions,
                growing=Growing(redis, rules, settings, time.time),
                trimming=_trimming(redis, rules, settings),
                backfiller=Backfiller(redis, rules, settings, time.time),
                readiness=WorkerReadiness(redis, rights),
                metrics=metrics,
                alerting=Alerting(redis, rules, time.time, kept),
                replicas=settings.relay_replicas,
                timings=timings,
            )
            for shard, router in zip(shards[1:], routers[1:], strict=True):
                home.others.append(_of_shard(home, shard.redis, router))
            yield home


def _routers(
    shards: Sequence[Shard],
    rules: MergedRules,
    settings: Settings,
    timings: Timings,
    metrics: WorkerMetrics,
    tracer: Tracer | None,
) -> list[Router]:
    """Return the router of each shard, the first one's first."""
    return [
        Router(
            *(shard.redis, rules, time.time, timings, metrics, tracer),
            gap_window=settings.relay_gap_window,
            receivers=shard.receivers,
            home=shards[0].redis,
        )
        for shard in shards
    ]


def _of_shard(home: WorkerParts, shard: Redis, router: Router) -> WorkerParts:
    """Return the parts for the jobs of another shard: `home`'s, with what works on the events there."""
    rules, timings = home.rules, home.timings
    return replace(
        home,
        redis=shard,
        router=router,
        replayer=Replayer(shard, rules, time.time, timings, home=home.redis),
        sweeper=Sweeper(shard, rules, time.time, is_home=False),
        trimming=_trimming(shard, rules, home.settings, home.redis),
        home=home,
    )


def _trimming(
    redis: Redis, rules: MergedRules, settings: Settings, home: Redis | None = None
) -> OnFirstUse[retention.Retention]:
    return OnFirstUse(retention, lambda: retention.Retention(redis, rules, time.time, settings.relay_gap_window, home))


def context_of(parts: WorkerParts) -> dict[Any, Any]:
    """Return the `ctx` that arq passes to every job."""
    return {_PARTS: parts}


def parts_of(ctx: dict[Any, Any]) -> WorkerParts:
    """Return the parts in `ctx`."""
    parts: WorkerParts = ctx[_PARTS]
    return parts


def job_of(ctx: dict[Any, Any]) -> str:
    """Return the id of the job that `ctx` belongs to."""
    return str(ctx["job_id"])
