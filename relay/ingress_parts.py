"""The composition root of an ingress: its parts, built once from its settings and closed in reverse order."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.errors import StoreUnavailable
from relay.core.lazy_modules import LazyModule
from relay.core.line_secret import V2_FORMER_SECRET, V2_SECRET, LineSecret
from relay.core.secret import SigningSecret
from relay.metrics.ingress_metrics import IngressMetrics
from relay.metrics.process_metrics import ProcessMetrics
from relay.net.failure_limit import FailureLimit
from relay.parts import open_keyring, open_store
from relay.process.timings import DEFAULTS
from relay.store.driver.client import REQUEST_TIMEOUT
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.memory_guard import MemoryGuard
from relay.store.inbox.quarantine import Quarantine
from relay.store.inbox.refusals import Refusals
from relay.store.inbox.waiting_room import Room
from relay.store.keyring.key_cache import KeyCache
from relay.store.keyring.last_seen import LastSeen
from relay.store.rights.watch import RightsWatch
from relay.store.sharding.number import NumberOfShards
from relay.store.sharding.shards import by_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from relay.config.settings import Settings
    from relay.process.telemetry.spans import Tracer
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis
    from relay.store.inbox import sharded_acceptor
    from relay.store.sharding.growth import watch
else:  # few relays have several shards
    sharded_acceptor = LazyModule("relay.store.inbox.sharded_acceptor")
    watch = LazyModule("relay.store.sharding.growth.watch")


@dataclass(frozen=True, slots=True)
class IngressParts:
    """The parts of the ingress."""

    redis: Redis
    acceptor: Acceptor | sharded_acceptor.ShardedAcceptor
    quarantine: Quarantine
    keys: KeyCache
    last_seen: LastSeen
    memory: MemoryGuard
    rights: RightsWatch
    refusals: Refusals
    failures: FailureLimit
    metrics: IngressMetrics
    number: NumberOfShards
    clock: Callable[[], float]
    """Unix seconds."""
    tracer: Tracer | None = None
    """None if traces are off."""

    def check(self) -> None:
        """Return if events are accepted now.

        Raises:
            StoreUnavailable: Redis is above the high-water mark, or the number of shards is not known.
        """
        refusal = self.memory.refusal or self.number.refusal
        if refusal is not None:
            raise StoreUnavailable(refusal)


def _v2_secrets(settings: Settings) -> list[LineSecret]:
    found = {
        V2_SECRET: settings.linq_v2_webhook_secret,
        V2_FORMER_SECRET: settings.linq_v2_webhook_secret_old,
    }
    return [
        LineSecret(None, generation, SigningSecret(secret.get_secret_value()))
        for generation, secret in found.items()
        if secret is not None
    ]


def _acceptor(
    settings: Settings, redis: Redis, clock: Callable[[], float], timings: Timings
) -> Acceptor | sharded_acceptor.ShardedAcceptor:
    """Return the acceptor; with several shards, that of all."""
    shards, window, replicas = redis.shards, settings.relay_dedupe_window, settings.relay_replicas

    room = Room.beside(settings.relay_max_connections)
    if len(shards) == 1:
        return Acceptor(redis, window, clock, replicas, timings, room)
    _, *others = by_server(shards)
    high_water = settings.relay_memory_high_water
    guards = {number: MemoryGuard(shard, high_water) for here in others for number, shard in here.items()}

    def acceptor_of(here: Mapping[int, Redis], parts: int, placed_by: int) -> Acceptor:
        first = next(iter(here.values()))
        return Acceptor(first, window, clock, replicas, timings, room.share(parts), placed_by, here)

    placement = watch.PlacementWatch(redis, window, clock, replicas)
    return sharded_acceptor.ShardedAcceptor(shards, acceptor_of, placement, clock, guards, timings)


@asynccontextmanager
async def ingress_parts(
    settings: Settings,
    clock: Callable[[], float] = time.time,
    timings: Timings = DEFAULTS,
    tracer: Tracer | None = None,
) -> AsyncIterator[IngressParts]:
    """Open the parts of an ingress process."""
    async with (
        open_store(settings, REQUEST_TIMEOUT) as redis,
        _acceptor(settings, redis, clock, timings) as acceptor,
        KeyCache(open_keyring(settings, redis), _v2_secrets(settings)) as keys,
        LastSeen(redis) as last_seen,
        MemoryGuard(redis, settings.relay_memory_high_water) as memory,
        RightsWatch(redis, timings.rights_check) as rights,
        Refusals(redis, timings.refusal_log) as refusals,
        ProcessMetrics("ingress") as process_metrics,
    ):
        quarantine = Quarantine(redis, settings.relay_replicas)
        failures = FailureLimit(timings.refusal_delay, clock)
        metrics = IngressMetrics(process_metrics)
        yield IngressParts(
            redis,
            acceptor,
            quarantine,
            keys,
            last_seen,
            memory,
            rights,
            refusals,
            failures,
            metrics,
            NumberOfShards(redis),
            clock,
            tracer,
        )
