"""Connections to Redis, and what counts as trouble with it.

Two temperaments. A request that somebody waits for fails fast (`open_redis(..., patience=0.9)`): the answer is 503 and
Linq tries again. A drain job has nobody waiting and nothing better to do, so its loops go on until Redis is back
(`retry_until_redis_answers`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from relay.store.driver.failover_pool import open_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RedisTrouble = (RedisError, OSError, asyncio.TimeoutError)
"""Everything that says "Redis cannot do this now"; a bug of ours never looks like one of these."""

REQUEST_TIMEOUT = 0.8
"""Seconds for one round trip that a webhook waits for; its answer is promised within two."""

WORKER_TIMEOUT = 5.0
"""Seconds for one round trip of a worker, longer than any of its blocking reads."""

_MAX_PAUSE = 1.0
_FIRST_PAUSE = 0.05
_SAY_EVERY = 30.0  # seconds between two warnings about the same wait

log = structlog.get_logger()
Answer = TypeVar("Answer")


def open_redis(url: str, patience: float) -> Redis:
    """A client of the Redis at `url`, whose round trips fail after `patience` seconds; connects when first used."""
    return Redis.from_pool(open_pool(url, patience, client_name="linq-relay"))


async def ask(call: Awaitable[Answer] | Answer) -> Answer:
    """The answer of one Redis command: redis-py types its commands for its blocking client as well."""
    return await cast("Awaitable[Answer]", call)


def describe(error: BaseException) -> str:
    """What went wrong, for a log or an answer; many timeouts have no words of their own."""
    return str(error) or type(error).__name__


async def retry_until_redis_answers(
    what: str, attempt: Callable[[], Awaitable[Answer]], on_trouble: Callable[[], None] | None = None
) -> Answer:
    """The answer of `attempt`, tried again with growing pauses for as long as Redis is in trouble.

    Only for operations that may be done twice: an attempt that timed out may have reached Redis. `on_trouble` is told
    of each failure, for callers to whom that matters (an answer that was lost may have carried entries that are now
    pending).
    """
    pause = waited = 0.0
    said = -_SAY_EVERY
    while True:
        try:
            answer = await attempt()
        except RedisTrouble as error:
            if on_trouble is not None:
                on_trouble()
            if waited - said >= _SAY_EVERY:
                log.warning(
                    "redis.waiting",
                    what=what,
                    waited_s=round(waited),
                    error=str(error),
                    error_type=type(error).__name__,
                )
                said = waited
            pause = min(max(2 * pause, _FIRST_PAUSE), _MAX_PAUSE)
            await asyncio.sleep(pause)
            waited += pause
        else:
            if waited:
                log.info("redis.recovered", what=what)
            return answer
