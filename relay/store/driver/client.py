"""Clients of Redis, and the errors that mean it is unavailable.

A webhook request fails fast (`open_redis(..., REQUEST_TIMEOUT)`): the response is 503 and Linq retries. No caller waits
for a drain job, so its loops retry until Redis is back (`retry_until_redis_answers`).
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog
from redis.asyncio import Redis as AnyRedis
from redis.exceptions import ExecAbortError, OutOfMemoryError, RedisError

from relay.core.redis_url.cluster import is_cluster_url
from relay.store.driver.pools.failover_pool import open_pool
from relay.store.fixed_keys import DEFAULT_PREFIX
from relay.store.keys import Keyspace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from redis.asyncio.client import Pipeline

REDIS_ERRORS = (RedisError, OSError, asyncio.TimeoutError)
"""The errors that mean "Redis cannot do this now"; a bug of ours never raises any of them."""

REQUEST_TIMEOUT = 0.8
"""Seconds for one round trip that a webhook waits for; its response is promised within two."""

WORKER_TIMEOUT = 5.0
"""Seconds for one round trip of a worker, longer than any of its blocking reads."""

_IN_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: \(['\"](.*)['\"],?\)", re.DOTALL)
"""Text that redis-py makes of an error in a pipeline: with the whole command, whatever it carries."""

_MAX_PAUSE = 1.0
_FIRST_PAUSE = 0.05
_WARN_INTERVAL = 30.0  # seconds between two warnings about the same wait

log = structlog.get_logger()
Answer = TypeVar("Answer")


class Redis(AnyRedis):
    """redis-py's client, with the names of the relay's keys."""

    key = Keyspace()
    others: tuple[Redis, ...] = ()
    """The clients of the other shards, of the client of the first one (`sharding.shards`)."""

    @property
    def shards(self) -> tuple[Redis, ...]:
        """The clients of all shards, of the client of the first one, by number."""
        return (self, *self.others)


def open_redis(url: str, timeout: float, key_prefix: str = DEFAULT_PREFIX) -> Redis:
    """Return a client of the Redis at `url`, whose round trips fail after `timeout` seconds; connects on first use.

    `key_prefix` is the prefix of the relay's keys there.
    """
    redis = cast("Redis", Redis.from_pool(open_pool(url, timeout, key_prefix, client_name="linq-relay")))
    redis.key = keyspace_at(url, key_prefix)
    return redis


def keyspace_at(url: str | None, key_prefix: str) -> Keyspace:
    """Return the names of the relay's keys in the Redis at `url`; None is the embedded one."""
    return Keyspace.tagged(key_prefix) if url and is_cluster_url(url) else Keyspace(key_prefix)


async def ask(call: Awaitable[Answer] | Answer) -> Answer:
    """Return the reply to one Redis command: redis-py types its commands for its blocking client as well."""
    return await cast("Awaitable[Answer]", call)


def numbers_in(rows: Mapping[bytes, bytes]) -> dict[str, int]:
    """Return the fields of a hash or an entry that are integers; another client may have written others."""
    return {name.decode(): int(value) for name, value in rows.items() if value.lstrip(b"-").isdigit()}


async def ask_together(redis: Redis, queue: Callable[[Pipeline], object], *, raise_on_error: bool = True) -> list[Any]:
    """Return the replies to the reading commands that `queue` adds to a pipeline, all of one moment.

    At `maxmemory`, Redis 7.0 refuses every command of a transaction; then they are of different moments.
    """
    for is_transaction in (True, False):
        async with redis.pipeline(transaction=is_transaction) as pipe:
            queue(pipe)
            try:
                return await pipe.execute(raise_on_error=raise_on_error)
            except (OutOfMemoryError, ExecAbortError):
                if not is_transaction:
                    raise
    raise AssertionError  # not reached


def describe(error: BaseException) -> str:
    """Return the text of an error, for a log or a response, without the data of a command.

    Many timeouts have no text of their own.
    """
    text = str(error)
    in_pipeline = _IN_PIPELINE.fullmatch(text)
    return (in_pipeline[1] if in_pipeline else text) or type(error).__name__


async def retry_until_redis_answers(
    what: str,
    attempt: Callable[[], Awaitable[Answer]],
    on_error: Callable[[], None] | None = None,
    max_pause: float = _MAX_PAUSE,
) -> Answer:
    """Return the result of `attempt`, retried with backoff while Redis is unavailable.

    Only for idempotent operations: an attempt that timed out may have reached Redis. `on_error` is called after each
    failure, for callers that must react (a lost reply may have carried entries that are now pending).
    """
    pause = waited = 0.0
    warned = -_WARN_INTERVAL
    while True:
        try:
            answer = await attempt()
        except REDIS_ERRORS as error:
            if on_error is not None:
                on_error()
            if waited - warned >= _WARN_INTERVAL:
                log.warning(
                    "redis.waiting",
                    what=what,
                    waited_s=round(waited),
                    error=describe(error),
                    error_type=type(error).__name__,
                )
                warned = waited
            pause = min(max(2 * pause, _FIRST_PAUSE), max_pause)
            await asyncio.sleep(pause)
            waited += pause
        else:
            if waited:
                log.info("redis.recovered", what=what)
            return answer
