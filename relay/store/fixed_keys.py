"""The keys that have one name each under a prefix, and those of jobs; `keys` describes them."""

from __future__ import annotations

DEFAULT_PREFIX = "relay"

ARQ_LOCK = "arq:in-progress:"
ARQ_PREFIXES = ("arq:job:", ARQ_LOCK, "arq:retry:", "arq:result:")
"""Prefixes of the keys that arq has for a job; its id follows (`arq.constants`, which an ingress does not import)."""


def shard_prefix(prefix: str, shard: int) -> str:
    """Return the prefix of the keys of a shard: of the first the relay's own, then one that no relay can have."""
    return prefix if shard == 0 else f"{prefix}/{shard}"


class FixedKeys:
    """The names of the relay's keys that no topic, lane or line is part of."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        """`prefix` has no colon."""
        self.prefix = prefix
        self._name_events(prefix)
        self._name_push(prefix)
        self._name_linq(prefix)
        self._name_teams(prefix)
        self._name_state(prefix)

    def _name_events(self, prefix: str) -> None:
        """Name what holds events on their way, and wake-ups."""
        self.inbox = f"{prefix}:inbox"
        self.prepared = f"{prefix}:prepared"
        self.quarantine = f"{prefix}:quarantine"
        self.seen_prefix = f"{prefix}:seen:"
        self.topics = f"{prefix}:topics"
        self.topic_prefix = f"{prefix}:topic:"
        self.unmatched = f"{prefix}:unmatched"
        self.refused = f"{prefix}:refused"
        self.chats = f"{prefix}:chats"
        self.chats_proved = f"{prefix}:chats:proved"
        self.chats_last_writer = f"{prefix}:chats:last_writer"
        self.gaps = f"{prefix}:gaps"
        self.backfilled = f"{prefix}:gaps:backfilled"
        self.group_letters = f"{prefix}:dead"
        self.queue = f"{prefix}:arq"
        self.slow_queue = f"{prefix}:arq:slow"

    def _name_push(self, prefix: str) -> None:
        """Name what belongs to all lanes, and replays."""
        self.lanes = f"{prefix}:lanes"
        self.lane_prefix = f"{prefix}:lane:"
        self.paused = f"{prefix}:paused"
        self.breakers = f"{prefix}:breakers"
        self.shadows = f"{prefix}:shadows"
        self.subscriptions = f"{prefix}:subscriptions"
        self.subscriptions_revision = f"{prefix}:subscriptions:revision"
        self.replays = f"{prefix}:replays"
        self.replays_running = f"{prefix}:replays:running"

    def _name_linq(self, prefix: str) -> None:
        """Name what is known of Linq: secrets, looks, contracts."""
        self.keyring = f"{prefix}:keyring"
        self.keyring_revision = f"{prefix}:keyring:revision"
        self.keyring_lock = f"{prefix}:keyring:lock"
        self.linq_v2 = f"{prefix}:linq:v2"
        self.linq_owner = f"{prefix}:linq:owner"
        self.linq_looks = f"{prefix}:linq:looks"
        self.linq_events = f"{prefix}:linq:events"
        self.linq_look_at = f"{prefix}:linq:look_at"
        self.last_seen = f"{prefix}:last_seen"
        self.drift = f"{prefix}:drift"
        self.contracts = f"{prefix}:contracts"
        self.contract_samples = f"{prefix}:contracts:samples"
        self.contract_changes = f"{prefix}:contracts:changes"

    def _name_teams(self, prefix: str) -> None:
        """Name what belongs to teams, and the audit."""
        self.audit = f"{prefix}:audit"
        self.audit_teams = f"{prefix}:audit:teams"
        self.teams = f"{prefix}:teams"
        self.tokens = f"{prefix}:tokens"
        self.tokens_used = f"{prefix}:tokens:used"

    def _name_state(self, prefix: str) -> None:
        """Name what is known of the relay itself: counts, processes, alerts."""
        self.counts = f"{prefix}:counts"
        self.audited = f"{prefix}:audited"
        self.maintenance = f"{prefix}:maintenance"
        self.alerts = f"{prefix}:alerts"
        self.alerts_outbox = f"{prefix}:alerts:outbox"
        self.alerts_sending = f"{prefix}:alerts:sending"
        self.alerts_history = f"{prefix}:alerts:history"
        self.alerts_certificates = f"{prefix}:alerts:certificates"
        self.history = f"{prefix}:history"
        self.history_lanes = f"{prefix}:history:lanes"
        self.processes = f"{prefix}:processes"
        self.shards = f"{prefix}:shards"
        self.growth = f"{prefix}:shards:growth"
        self.opened_lanes = f"{prefix}:shards:opened"
        self.fence = f"{prefix}:shards:fence"
        self.drain_orders = f"{prefix}:drain_orders"
        self.memory_probe = f"{prefix}:memory_probe"
        self.lines = f"{prefix}:lines"

    def job_id(self, name: str) -> str:
        """Return the id of the arq job of that name: below our prefix, since arq's keys are shared by its users."""
        return f"{self.prefix}:{name}"

    def arq(self, prefix: str, job: str) -> str:
        """Return the key, one of `ARQ_PREFIXES`, that arq has for a job with a name of ours."""
        return f"{prefix}{self.job_id(job)}"

    def pattern(self) -> str:
        """Return the pattern of all keys under the prefix, for an ACL rule; arq's are not among them."""
        return f"{self.prefix}:*"

    def lease(self, job_id: str) -> str:
        """Return the key of the lease on a job."""
        return f"{self.prefix}:lease:{job_id}"

    def arq_lock(self, job_id: str) -> str:
        """Return the key of arq's own lock on a job.

        Raises:
            ValueError: the id is not below our prefix, so the key would belong to every relay in this Redis.
        """
        if not job_id.startswith(f"{self.prefix}:"):
            raise ValueError(f"the job id {job_id!r} must begin with {self.prefix}:")
        return f"{ARQ_LOCK}{job_id}"
