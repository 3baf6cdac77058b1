"""The audit of lanes: finds what was deleted of a lane by hand, and repairs it.

A tidy-up command (`XGROUP DELCONSUMER`, `XDEL`, `DEL`, ...) can delete what the relay still needs. The sweeper compares
each lane with its counters in one step: deliveries that are missing are given to the lane again, or are counted as lost
if their events are gone. Either way the ledger balances afterwards, and the log names what was deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.store import keys
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

_audit = Script(__package__, "audit_lane")
_PARTS = ("retries", "replay", "dead", "blocked")

log = structlog.get_logger()


class Deletion(NamedTuple):
    """Something of a lane that was deleted."""

    key: str
    what: str
    """The deleted part: `group`, `position`, `pending entries`, `entries`, `counters`, or the whole `stream`."""
    given_again: int
    """The number of deliveries that the lane has now in the place of the deleted ones."""
    surplus: int
    """By how many deliveries that exceeds those that were owed (repeated); negative if it falls below (lost)."""


async def audit_lane(redis: Redis, subscription: str, *, is_configured: bool) -> list[Deletion]:
    """Repair a lane, and log and return what was deleted; of a lane that is not in relay.toml only count it."""
    redis_keys = [keys.lane(subscription), *(keys.lane(subscription, part) for part in _PARTS)]
    reply = await _audit(redis, redis_keys, [keys.push_group(subscription), keys.CONSUMER, int(is_configured)])
    found = [
        Deletion(key.decode(), what.decode(), given_again, surplus)
        for key, what, given_again, surplus in zip(*(iter(reply),) * 4, strict=True)
    ]
    for deletion in found:
        log_deletion(subscription, deletion)
    return found


def log_deletion(subscription: str, deletion: Deletion) -> None:
    """Log what was deleted of a lane, and what became of its deliveries."""
    key, what, given_again, surplus = deletion
    log.error(
        "lane.group_lost" if what in {"group", "stream"} else "lane.state_lost",
        subscription=subscription,
        deleted=f"{what} of {key}",
        given_again=given_again,
        **{"repeated" if surplus > 0 else "lost": abs(surplus)},
    )
