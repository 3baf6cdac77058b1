"""The bounds of a lane's dead letters: beyond them the oldest are deleted, and counted in the ledger (`discarded`).

One subscriber that rejects everything must not fill the Redis that all share. Half-way to the size an alarm is logged,
once until there is clearly less again; every deletion is logged. Retention enforces the bounds once a minute, and the
lane's worker after each 200 dead letters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.store import wakeups
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.config.topics import DeadBounds
    from relay.store.driver.client import Redis

_STEP = 200  # letters a script, which blocks Redis

_trim = Script(__package__, "dead_letter_trim")

log = structlog.get_logger()


class TrimmedLetters(NamedTuple):
    """The result of trimming the dead letters of a lane."""

    expired: int
    """The number of deleted letters that were too old."""
    overflowed: int
    """The number of deleted letters beyond the size."""
    letters: int
    """The number of remaining letters."""
    size: int
    """Bytes of Redis's memory that those take."""


async def trim_dead_letters(
    redis: Redis, subscription: str, bounds: DeadBounds, now_ms: int, *, is_alarm: bool = True
) -> TrimmedLetters:
    """Delete the oldest dead letters beyond `bounds`, in steps between which Redis serves other clients.

    Those of a shadow are no alarm in the log.
    """
    partition = wakeups.partition_of(subscription)
    wakeup = wakeups.deliver(redis.key, partition)
    redis_keys = [redis.key.lane(subscription), redis.key.ready(partition), redis.key.queue]
    arguments: list[str | bytes | int] = [subscription, now_ms, wakeup.job_id, wakeup.payload, wakeups.LIFETIME_MS]
    arguments += (max(now_ms - round(bounds.keep * 1000), 0), bounds.size, _STEP)
    expired = overflowed = 0
    is_filling = False
    while True:
        old, over, letters, size, crossed = await _trim(redis, redis_keys, arguments)
        expired, overflowed, is_filling = expired + old, overflowed + over, is_filling or bool(crossed)
        if old + over < _STEP:
            break
    trimmed = TrimmedLetters(expired, overflowed, letters, size)
    _log(subscription, bounds, trimmed, is_filling=is_filling, write=log.error if is_alarm else log.info)
    return trimmed


def _log(
    subscription: str, bounds: DeadBounds, trimmed: TrimmedLetters, *, is_filling: bool, write: Callable[..., object]
) -> None:
    fields = {
        "subscription": subscription,
        "letters": trimmed.letters,
        "bytes": trimmed.size,
        "size": bounds.size,
        "note": f"replay or drop them: relay dead list --subscription {subscription}",
    }
    if is_filling:
        write("dead_letters.filling", **fields)
    if trimmed.expired or trimmed.overflowed:
        write("dead_letters.discarded", **fields, expired=trimmed.expired, overflowed=trimmed.overflowed)
