"""arq's client of Redis, without the key that has no place on a Redis Cluster.

arq ends each job in one transaction that also touches `arq:abort`, the ids of jobs to abort. That key has one name for
all users of a Redis, so it is in another slot of a cluster than the job, and the transaction is refused. The relay
aborts no jobs (`allow_abort_jobs` is off), so the set is always empty, and nothing is lost by leaving it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arq.connections import ArqRedis
from arq.constants import abort_jobs_ss
from redis.asyncio.client import Pipeline

if TYPE_CHECKING:
    from redis.typing import FieldT, KeyT


class _Pipeline(Pipeline):
    """A pipeline that leaves out what arq would remove from `arq:abort`; it does not look at that reply."""

    def zrem(self, name: KeyT, *values: FieldT) -> Any:
        """Remove members of a sorted set."""
        return self if name == abort_jobs_ss else super().zrem(name, *values)


class ArqClient(ArqRedis):
    """arq's client, whose pipelines are those above."""

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002
        """Return a pipeline."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
