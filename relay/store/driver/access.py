"""Access check: the credentials and the rights of the relay in its Redis, checked once at the start.

A wrong password or a missing right would otherwise cause endless retries. Each command that the relay uses is
queued in a transaction that is then discarded: Redis checks the rights when it queues a command
(https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/), and nothing is executed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError, ResponseError

from relay.core.errors import Problem, SettingsError
from relay.store import keys
from relay.store.driver.client import REDIS_ERRORS, retry_until_redis_answers

if TYPE_CHECKING:
    from redis.asyncio import Redis

ACL = (
    "ACL SETUSER relay on >PASSWORD resetkeys ~relay:* ~arq:* resetchannels "
    "-@all +@read +@write +@scripting +@transaction +@connection +@blocking +info +wait"
)
"""The command by which an operator grants the rights that the relay needs."""

_AUTHENTICATION_TRIES = 3
_AUTHENTICATION_PAUSE = 1.0  # seconds; Redis may still be loading its users

_STREAM, _HASH, _ZSET, _SET = keys.topic("t"), keys.COUNTS, keys.QUEUE, keys.TOPICS
_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("PING",),
    ("INFO", "server"),
    ("WAIT", "0", "1"),
    ("EVALSHA", "0" * 40, "1", keys.INBOX),
    ("EVAL", "return 1", "1", keys.INBOX),
    *(("GET", key) for key in (keys.PREPARED, "arq:job:relay:route")),
    *(("SET", key, "") for key in (keys.PREPARED, "arq:job:relay:route", "arq:in-progress:relay:route")),
    *(("PSETEX", key, "1", "") for key in ("arq:in-progress:relay:route", "relay:arq:health-check")),
    *(("DEL", keys.PREPARED), ("UNLINK", keys.PREPARED)),
    ("EXISTS", keys.PREPARED),
    ("PEXPIRE", keys.PREPARED, "1"),
    ("TYPE", keys.PREPARED),
    ("MEMORY", "USAGE", _STREAM),
    *(
        ("HDEL", _HASH, "f"),
        ("HEXISTS", _HASH, "f"),
        ("HGET", _HASH, "f"),
        ("HGETALL", _HASH),
        ("HINCRBY", _HASH, "f", "1"),
    ),
    *(("HKEYS", _HASH), ("HLEN", _HASH), ("HMGET", _HASH, "f"), ("HSET", _HASH, "f", "")),
    *(("SADD", _SET, "m"), ("SCARD", _SET), ("SMEMBERS", _SET), ("SREM", _SET, "m")),
    *(("BZPOPMIN", _ZSET, "1"), ("ZADD", _ZSET, "1", "m"), ("ZCARD", _ZSET), ("ZCOUNT", _ZSET, "0", "1")),
    *(("ZINCRBY", _ZSET, "1", "m"), ("ZRANGE", _ZSET, "0", "1"), ("ZRANGEBYSCORE", _ZSET, "0", "1")),
    *(("ZREM", _ZSET, "m"), ("ZREMRANGEBYRANK", _ZSET, "0", "1"), ("ZSCORE", _ZSET, "m")),
    ("XCLAIM", _STREAM, "g", "c", "0", "1-1"),
    *(("XACK", _STREAM, "g", "1-1"), ("XADD", _STREAM, "*", "f", ""), ("XDEL", _STREAM, "1-1"), ("XLEN", _STREAM)),
    *(("XGROUP", "CREATE", _STREAM, "g", "0"), ("XGROUP", "SETID", _STREAM, "g", "0")),
    *(("XINFO", "GROUPS", _STREAM), ("XINFO", "STREAM", _STREAM), ("XPENDING", _STREAM, "g")),
    *(("XRANGE", _STREAM, "-", "+"), ("XREVRANGE", _STREAM, "+", "-"), ("XREAD", "STREAMS", _STREAM, "0")),
    *(("XREADGROUP", "GROUP", "g", "c", "STREAMS", _STREAM, ">"), ("XTRIM", _STREAM, "MAXLEN", "1")),
)


async def wait_for_access(redis: Redis) -> None:
    """Wait until Redis can be reached, then check the credentials and the rights of REDIS_URL.

    Raises:
        SettingsError: they are not sufficient; the message has the command that grants them.
    """
    await retry_until_redis_answers("connecting to Redis", partial(_check, redis))


async def check_access(redis: Redis) -> None:
    """Check the credentials and the rights of REDIS_URL, unless Redis cannot be reached now.

    Raises:
        SettingsError: they are not sufficient; the message has the command that grants them.
    """
    with suppress(*REDIS_ERRORS):
        await _check(redis)


async def _check(redis: Redis) -> None:
    await _authenticate(redis)
    try:
        missing = await _missing(redis)
    except NoPermissionError:
        missing = ["MULTI"]
    if missing:
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        raise _refused(f"its user may not use {shown}; grant what the relay needs: {ACL}")


async def _authenticate(redis: Redis) -> None:
    for tries_left in reversed(range(_AUTHENTICATION_TRIES)):
        try:
            await redis.ping()
        except (AuthenticationError, AuthenticationWrongNumberOfArgsError):
            if not tries_left:
                raise _refused("the user name or password is wrong or missing") from None
            await asyncio.sleep(_AUTHENTICATION_PAUSE)
        except NoPermissionError:
            return  # `_missing` reports it
        else:
            return


async def _missing(redis: Redis) -> list[str]:
    """Return the commands that the user may not use on our keys."""
    missing: list[str] = []
    connection: Any = await redis.connection_pool.get_connection()
    try:
        await _send(connection, "MULTI")
        for command in _COMMANDS:
            try:
                await _send(connection, *command)
            except NoPermissionError as error:
                missing.append(command[0] if "key" not in str(error) else f"{command[0]} on {command[1]}")
            except ResponseError:
                pass  # unknown to this server, or not allowed in a transaction: unrelated to rights
        await _send(connection, "DISCARD")
    finally:
        await redis.connection_pool.release(connection)
    return list(dict.fromkeys(missing))


async def _send(connection: Any, *command: str) -> None:
    await connection.send_command(*command)
    await connection.read_response()


def _refused(why: str) -> SettingsError:
    return SettingsError("Redis refuses the relay:", (Problem("REDIS_URL", why),))
