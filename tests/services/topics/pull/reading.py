"""Principals that pull, and events to be pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE, Scope
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.services.topics.pull.batch import Batch
    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")
OPERATOR = Principal("alice", None, EVERY_SCOPE)
CRM = Principal("crm token", "crm", frozenset({Scope.READ, Scope.SUBSCRIBE}), frozenset({"support"}))


async def feed(redis: Redis, *ids: str, event_type: str = "message.received", body: str = "{}") -> list[str]:
    """Add events to the topic `support`; return their entries."""
    entries = []
    for event_id in ids:
        fields: Any = {"id": event_id, "type": event_type, "line": "+16465550123", "at": "1", "body": body}
        entries.append((await redis.xadd(redis.key.topic("support"), fields)).decode())
    return entries


async def feed_at(shard: Redis, **events: int) -> None:
    """Add events to the topic `support` on a shard, each with the time of its routing, Unix milliseconds."""
    for event_id, ms in events.items():
        await shard.xadd(shard.key.topic("support"), {"id": event_id, "type": "x", "at": "1", "body": "{}"}, f"{ms}-0")


def ids(batch: Batch) -> list[str]:
    """Return the ids of the events of a batch."""
    return [event.record.id for event in batch.events]


def receipts(batch: Batch) -> list[str]:
    """Return the receipts of a batch."""
    return [str(event.receipt) for event in batch.events]
