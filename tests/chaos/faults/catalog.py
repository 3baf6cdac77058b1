"""Every kind of fault, by the name that `--faults` takes. To add one, add a function and a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.faults import cluster_faults, processes, redis_faults, surroundings
from tests.chaos.faults.kind import Fault, Servers
from tests.chaos.plan import Span
from tests.chaos.records import (
    DELETE_CONSUMERS,
    DELETE_LANE_GROUPS,
    FAIL_OVER,
    HOLD_CONNECTIONS,
    LOSE_REDIS,
    SILENCE_DNS,
    STARVE_DESCRIPTORS,
    TURN_HOSTILE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLUSTER = frozenset({Servers.CLUSTER})
_WITH_REPLICAS = frozenset({Servers.SENTINELS, Servers.CLUSTER})
_RETURNING = frozenset(
    {Servers.SINGLE, Servers.SENTINELS}
)  # in a cluster a replica takes over, and none reads the file

FAULTS: Mapping[str, Fault] = {
    "kill-ingress": Fault(processes.kill("ingress"), Span(0.2, 3)),
    "kill-worker": Fault(processes.kill("worker"), Span(0.2, 3)),
    "kill-redis": Fault(redis_faults.kill_redis, Span(0.2, 4), is_about_redis=True),
    LOSE_REDIS: Fault(redis_faults.lose_redis, Span(30, 60), _WITH_REPLICAS, is_about_redis=True, is_outage=True),
    "stop-ingress": Fault(processes.pause("ingress"), Span(0.5, 12)),
    "stop-worker": Fault(processes.pause("worker"), Span(0.5, 12)),
    "stop-redis": Fault(redis_faults.stop_redis, Span(0.5, 12), is_about_redis=True),
    "restart-redis": Fault(redis_faults.restart_redis, Span(0, 2), is_about_redis=True),
    "rewrite-aof": Fault(redis_faults.rewrite_aof, Span(0, 3, beyond=2), _RETURNING, is_about_redis=True),
    "roll-ingresses": Fault(processes.roll("ingress"), Span(0, 0, beyond=10)),
    "roll-workers": Fault(processes.roll("worker"), Span(0, 0, beyond=10)),
    FAIL_OVER: Fault(redis_faults.fail_over, Span(0, 0), _WITH_REPLICAS, is_about_redis=True),
    "move-slot": Fault(
        cluster_faults.move_slot, Span(0, 0, beyond=3), _CLUSTER, keeps_writes=True, is_about_redis=True
    ),
    "half-move-slot": Fault(
        cluster_faults.half_move_slot, Span(1, 8, beyond=3), _CLUSTER, keeps_writes=True, is_about_redis=True
    ),
    "roll-redis": Fault(cluster_faults.roll_redis, Span(0, 0, beyond=12), _CLUSTER, is_about_redis=True),
    "sleep-redis": Fault(redis_faults.sleep_redis, Span(0.5, 8), is_about_redis=True),
    "cut-connections": Fault(redis_faults.cut_connections, Span(0, 3), is_about_redis=True),
    DELETE_LANE_GROUPS: Fault(redis_faults.delete_lane_groups, Span(0, 0), is_about_redis=True),
    DELETE_CONSUMERS: Fault(redis_faults.delete_consumers, Span(0, 0), is_about_redis=True),
    "forget-preparation": Fault(redis_faults.forget_preparation, Span(0, 0), is_about_redis=True),
    "flush-scripts": Fault(redis_faults.flush_scripts, Span(0, 0), is_about_redis=True),
    "fill-memory": Fault(redis_faults.fill_memory, Span(0.3, 4), is_about_redis=True),
    "start-full": Fault(surroundings.start_full, Span(0.5, 4, beyond=20), is_about_redis=True),
    "step-clock": Fault(processes.step_clock, Span(2, 12)),
    STARVE_DESCRIPTORS: Fault(processes.starve_descriptors, Span(8, 12, beyond=20)),
    SILENCE_DNS: Fault(surroundings.silence_dns, Span(8, 12), needs_address=True),
    HOLD_CONNECTIONS: Fault(surroundings.hold_connections, Span(8, 12)),
    TURN_HOSTILE: Fault(surroundings.turn_hostile, Span(8, 12)),
}
"""Every kind of fault, by name."""
