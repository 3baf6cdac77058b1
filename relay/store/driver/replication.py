"""Replication of writes: the number of replicas that must confirm one before it counts."""

from __future__ import annotations

from typing import NamedTuple, Self

from redis.exceptions import RedisError

from relay.store.driver.client import REQUEST_TIMEOUT

_REPLICATION_TIMEOUT = 0.75 * REQUEST_TIMEOUT


class Replication(NamedTuple):
    """The number of replicas that must confirm a write before it counts (https://redis.io/docs/latest/commands/wait/)."""

    replicas: int
    timeout_ms: int

    @classmethod
    def to_replicas(cls, replicas: int) -> Self | None:
        """Return the replication to that many replicas, with a timeout that suits a webhook; None for 0."""
        return cls(replicas, round(_REPLICATION_TIMEOUT * 1000)) if replicas else None


class NotReplicated(RedisError):
    """A write that is on the primary only, and is lost if that fails now."""
