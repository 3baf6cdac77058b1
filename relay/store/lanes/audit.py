"""The audit of lanes: finds what was deleted of a lane by hand, and repairs it.

A tidy-up command (`XGROUP DELCONSUMER`, `XDEL`, `DEL`, ...) can delete what the relay still needs. The sweeper compares
each lane with its counters in one step: deliveries that are missing are given to the lane again, or are counted as lost
if their events are gone. Either way the ledger balances afterwards, and the log names what was deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from relay.store import keys
from relay.store.driver.scripts import Script
from relay.store.driver.streams import count_between

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_audit = Script(__package__, "audit_lane")
_MAX_COUNTED = 500  # entries that the script counts itself: it blocks Redis, for about 2 ms
_MAX_ROUNDS = 4  # of counting and repairing; the next audit continues
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
    redis_keys = [redis.key.lane(subscription), *(redis.key.lane(subscription, part) for part in _PARTS)]
    arguments: list[str | bytes | int] = [
        keys.push_group(subscription),
        keys.CONSUMER,
        int(is_configured),
        _MAX_COUNTED,
    ]
    reply: list[Any] = []
    for _ in range(_MAX_ROUNDS):
        uncounted, *found_now = await _audit(redis, redis_keys, arguments)
        reply += found_now
        for stream, after in zip(uncounted[::2], uncounted[1::2], strict=True):
            arguments += await _count(redis, stream.decode(), after.decode())
        if not uncounted:
            break
    found = [_deletion(*row) for row in zip(*(iter(reply),) * 4, strict=True)]
    for deletion in found:
        log_deletion(subscription, deletion)
    return found


def _deletion(key: bytes, what: bytes, given_again: int, surplus: int) -> Deletion:
    return Deletion(key.decode(), what.decode(), given_again, surplus)


async def _count(redis: Redis, stream: str, after: str) -> tuple[str, str, str, int]:
    """Count the entries of a stream after an id, in steps between which Redis serves others."""
    last = (await redis.xinfo_stream(stream))["last-generated-id"].decode()
    return stream, after, last, await count_between(redis, stream, after, last)


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
