"""Replication of writes: the number of replicas that must confirm one before it counts."""

from __future__ import annotations

from typing import NamedTuple, Self

from redis.exceptions import RedisError

from relay.store.driver.client import REQUEST_TIMEOUT

_REPLICATION_TIMEOUT = 0.75 * REQUEST_TIMEOUT


class Replication(NamedTuple):
    """The number of replicas that must confirm a write before it counts (https://redis.io/docs/latest/commands/wait/)."""

    replicas: int
    patience_ms: int

    @classmethod
    def of_replicas(cls, replicas: int) -> Self | None:
        """Replication to so many replicas, within what a webhook may take; None for none."""
        return cls(replicas, round(_REPLICATION_TIMEOUT * 1000)) if replicas else None


class NotReplicated(RedisError):
    """A write is on the primary, and may be lost should that fail now."""
