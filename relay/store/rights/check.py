"""The check of credentials and rights: at the start, and while an ingress runs.

A wrong password or a missing right would otherwise cause endless retries. Each command that the relay uses is queued in
a transaction that is then discarded: Redis checks the rights when it queues a command
(https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/), and nothing is executed. All of them are
sent together, in one round trip.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError, ResponseError

from relay.core.errors import Problem, SettingsError
from relay.store.driver.client import REDIS_ERRORS, retry_until_redis_answers
from relay.store.driver.pools.cluster_pool import NotAClusterError
from relay.store.fixed_keys import ARQ_PREFIXES
from relay.store.rights.explanation import CLUSTER_URL, IN_CLUSTER_MODE, OWN_USERS, PLAIN_URL, WRONG_CREDENTIALS
from relay.store.rights.rules import relay_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis
    from relay.store.keys import Keyspace

WRONG_CREDENTIALS_OF_SENTINELS = "the user name or password of the Sentinels (?sentinel_password=) is wrong or missing"
_SENTINEL_REFUSES = "AuthenticationError("

_AUTHENTICATION_TRIES = 3
_AUTHENTICATION_PAUSE = 1.0  # seconds; Redis may still be loading its users
_MAX_SHOWN = 8
_COMMAND_IN_ERROR = re.compile(r"to run the '([^']+)' command")


def uses_of(key: Keyspace) -> tuple[tuple[str, ...], ...]:
    """Return a use of each command that the relay needs, and of each kind of key."""
    stream, counts, queue, topics, mark = key.topic("t"), key.counts, key.queue, key.topics, key.prepared
    job, lock, retry, result = (key.arq(prefix, "route") for prefix in ARQ_PREFIXES)
    script, sha = "return 1", "0" * 40
    return (
        *([("CLUSTER", "SLOTS")] if key.is_tagged else []),
        *(("PING",), ("SELECT", "0"), ("INFO", "server"), ("TIME",), ("DBSIZE",), ("WAIT", "0", "1"), ("UNWATCH",)),
        *((command, script, "1", key.inbox) for command in ("EVAL", "EVAL_RO")),
        *((command, sha, "1", key.inbox) for command in ("EVALSHA", "EVALSHA_RO")),
        ("SCRIPT", "LOAD", script),
        *(("GET", name) for name in (mark, job)),
        *(("SET", name, "") for name in (mark, job, lock)),
        *(("MGET", mark), ("BITFIELD", mark, "GET", "u32", "#0")),
        *(("APPEND", mark, ""), ("GETRANGE", mark, "0", "1"), ("STRLEN", mark)),
        *(("PSETEX", name, "1", "") for name in (lock, f"{queue}:health-check")),
        *(
            ("INCRBY", retry, "1"),
            ("EXPIRE", retry, "1"),
            ("EXISTS", mark, result),
            ("PEXPIRE", mark, "1"),
            ("PTTL", mark),
            ("TYPE", mark),
        ),
        *(("DEL", mark), ("UNLINK", mark), ("MEMORY", "USAGE", stream)),
        *((command, counts, "f") for command in ("HDEL", "HEXISTS", "HGET", "HMGET")),
        *((command, counts) for command in ("HGETALL", "HKEYS", "HLEN")),
        ("HSCAN", counts, "0"),
        *(("HINCRBY", counts, "f", "1"), ("HSET", counts, "f", ""), ("HSETNX", counts, "f", "")),
        *(("SADD", topics, "m"), ("SCARD", topics), ("SMEMBERS", topics), ("SREM", topics, "m")),
        *(("BZPOPMIN", queue, "1"), ("ZADD", queue, "1", "m"), ("ZINCRBY", queue, "1", "m")),
        *((command, queue) for command in ("ZCARD", "ZPOPMIN")),
        *((command, queue, "m") for command in ("ZMSCORE", "ZREM", "ZSCORE")),
        *((command, queue, "0", "1") for command in ("ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREMRANGEBYRANK")),
        *(("XCLAIM", stream, "g", "c", "0", "1-1"), ("XAUTOCLAIM", stream, "g", "c", "0", "0")),
        *(("XACK", stream, "g", "1-1"), ("XADD", stream, "*", "f", ""), ("XDEL", stream, "1-1"), ("XLEN", stream)),
        *(("XGROUP", "CREATE", stream, "g", "0"), ("XGROUP", "SETID", stream, "g", "0")),
        *(("XGROUP", "DELCONSUMER", stream, "g", "c"), ("XGROUP", "DESTROY", stream, "g")),
        *(
            ("XINFO", "CONSUMERS", stream, "g"),
            ("XINFO", "GROUPS", stream),
            ("XINFO", "STREAM", stream),
            ("XPENDING", stream, "g"),
        ),
        *(("XRANGE", stream, "-", "+"), ("XREVRANGE", stream, "+", "-"), ("XREAD", "STREAMS", stream, "0")),
        *(("XREADGROUP", "GROUP", "g", "c", "STREAMS", stream, ">"), ("XTRIM", stream, "MAXLEN", "1")),
    )


async def wait_for_access(redis: Redis) -> None:
    """Wait until Redis can be reached, then check the credentials and the rights of REDIS_URL on every shard.

    Raises:
        SettingsError: they are not sufficient; the message has the command that grants them.
    """
    await retry_until_redis_answers("connecting to Redis", partial(_check, redis, redis))
    for shard in redis.others:
        with suppress(*REDIS_ERRORS):
            await _check(shard, redis)


async def check_access(redis: Redis) -> None:
    """Check the credentials and the rights of REDIS_URL on every shard, except those that cannot be reached now.

    Raises:
        SettingsError: they are not sufficient; the message has the command that grants them.
    """
    for shard in redis.shards:
        with suppress(*REDIS_ERRORS):
            await _check(shard, redis)


async def refusal(redis: Redis, home: Redis | None = None) -> str | None:
    """Return which rights the relay lacks, and the command that grants them; None if it has all.

    The command is for all shards: `home` is the first one, if `redis` is another.

    Raises an error of the client if Redis cannot be reached.
    """
    missing = await _missing(redis)
    if not missing:
        return None
    shown = ", ".join(missing[:_MAX_SHOWN])
    if len(missing) > _MAX_SHOWN:
        shown += f" and {len(missing) - _MAX_SHOWN} more"
    return f"its user may not use {shown}; grant what the relay needs: {granting(home or redis)}"


def granting(redis: Redis) -> str:
    """Return the command that grants the rights of the relay, on all shards, to the user of `redis`."""
    user = redis.connection_pool.connection_kwargs.get("username") or "default"
    return relay_rule(redis.key, *(shard.key for shard in redis.others)).setuser(user)


async def _check(redis: Redis, home: Redis) -> None:
    try:
        await _authenticate(redis)
        await _check_mode(redis)
        if why := await refusal(redis, home):
            raise _refused(why)
    except SettingsError as error:
        if redis is home:
            raise
        where = f"on shard {home.shards.index(redis)}" + (f" ({OWN_USERS})" if redis.key.is_tagged else "")
        raise _refused(f"{where}: {error.problems[0].message}") from None


async def _authenticate(redis: Redis) -> None:
    for tries_left in reversed(range(_AUTHENTICATION_TRIES)):
        try:
            await redis.ping()
        except (AuthenticationError, AuthenticationWrongNumberOfArgsError):
            if not tries_left:
                raise _refused(WRONG_CREDENTIALS) from None
            await asyncio.sleep(_AUTHENTICATION_PAUSE)
        except MasterNotFoundError as error:
            if _SENTINEL_REFUSES not in str(error):
                raise
            if not tries_left:
                raise _refused(WRONG_CREDENTIALS_OF_SENTINELS) from None
            await asyncio.sleep(_AUTHENTICATION_PAUSE)
        except NotAClusterError as error:
            raise _refused(f"{error}: begin it with {PLAIN_URL}") from None
        except NoPermissionError:
            return  # `_missing` reports it
        else:
            return


async def _check_mode(redis: Redis) -> None:
    """Check that the server is no node of a cluster, where the keys of a plain REDIS_URL are in different slots."""
    if redis.key.is_tagged:
        return
    with suppress(NoPermissionError):  # `_missing` reports it
        if (await redis.info("cluster")).get("cluster_enabled"):
            raise _refused(f"{IN_CLUSTER_MODE}: begin it with {CLUSTER_URL}")


async def _missing(redis: Redis) -> list[str]:
    """Return the commands that the user may not use on our keys."""
    try:
        connection: Any = await redis.connection_pool.get_connection()
    except NoPermissionError as error:  # of the commands that open a connection
        return [
            _named(("CLUSTER SLOTS or CLIENT SETNAME" if redis.key.is_tagged else "CLIENT SETNAME or SELECT",), error)
        ]
    try:
        missing = await _refused_of(connection, (("WATCH", redis.key.prepared), ("MULTI",)))
        if "MULTI" not in missing:  # without the transaction, the commands would be executed
            missing += await _refused_of(connection, (*uses_of(redis.key), ("DISCARD",)))
    except BaseException:
        await connection.disconnect(nowait=True)  # replies that are left would be taken for those of others
        raise
    finally:
        await redis.connection_pool.release(connection)
    return list(dict.fromkeys(missing))


async def _refused_of(connection: Any, uses: Sequence[tuple[str, ...]]) -> list[str]:
    refused: list[str] = []
    await connection.send_packed_command(connection.pack_commands(uses))
    for use in uses:
        try:
            await connection.read_response()
        except NoPermissionError as error:
            refused.append(_named(use, error))
        except ResponseError:
            pass  # unknown to this server, or not allowed in a transaction: unrelated to rights
    return refused


def _named(use: Sequence[str], error: NoPermissionError) -> str:
    """Return the command that was refused, with the key if that is the reason."""
    if refused := _COMMAND_IN_ERROR.search(str(error)):
        return refused[1].upper().replace("|", " ")
    name = f"{use[0]} {use[1]}" if use[0] in {"XGROUP", "XINFO", "MEMORY", "SCRIPT"} else use[0]
    key = next((word for word in use[1:] if ":" in word), "a key")
    return f"{name} on {key}" if "key" in str(error) else name


def _refused(why: str) -> SettingsError:
    return SettingsError("Redis refuses the relay:", (Problem("REDIS_URL", why),))
