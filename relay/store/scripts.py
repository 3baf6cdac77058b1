"""Lua scripts: one file each in `lua/`, sent by hash, and whole when Redis does not know it (a restart, a failover).

Those that settle, trim and keep a lease carry the flag `allow-oom`: they run also when Redis has reached `maxmemory`,
for what is accepted must be able to leave (https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags).

Arguments are packed by hiredis in C: redis-py's own packing is pure Python and costs more than the round trip for a
batch of events.
"""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from hiredis import pack_command
from redis.exceptions import NoScriptError, RedisError, ResponseError

from relay.store.connect import REQUEST_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Connection, Redis

    Argument = bytes | str | int

_REPLICATION_PATIENCE = 0.75 * REQUEST_PATIENCE

_LUA = files("relay.store") / "lua"


class Replication(NamedTuple):
    """How many replicas have to have a write before it counts (https://redis.io/docs/latest/commands/wait/)."""

    replicas: int
    patience_ms: int

    @classmethod
    def to(cls, replicas: int) -> Self | None:
        """Replication to so many replicas, within what a webhook may take; None for none."""
        return cls(replicas, round(_REPLICATION_PATIENCE * 1000)) if replicas else None


class NotReplicated(RedisError):
    """A write is on the primary, and may be lost should that fail now."""


class Script:
    """One Lua script, ready to run on any Redis."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._source = _read(name)
        self._sha = sha1(self._source).hexdigest().encode()  # noqa: S324  Redis names scripts by their SHA-1

    async def __call__(
        self,
        redis: Redis,
        keys: Sequence[Argument],
        arguments: Sequence[Argument],
        replication: Replication | None = None,
    ) -> Any:
        """What the script returns; one round trip, or two when Redis has to be told the script.

        Raises:
            NotReplicated: the script has run, but not enough replicas have confirmed what it wrote.
        """
        connection = await redis.connection_pool.get_connection()
        try:
            try:
                return await _round_trip(connection, (b"EVALSHA", self._sha, len(keys), *keys, *arguments), replication)
            except NoScriptError:
                return await _round_trip(connection, (b"EVAL", self._source, len(keys), *keys, *arguments), replication)
        finally:
            await redis.connection_pool.release(connection)


def _read(name: str) -> bytes:
    """The script's text, with `--#include x` lines replaced by `x.inc.lua`."""
    lines = (_LUA / f"{name}.lua").read_text().splitlines()
    included = (
        (_LUA / f"{line.split()[1]}.inc.lua").read_text() if line.startswith("--#include ") else line for line in lines
    )
    return "\n".join(included).encode()


async def _round_trip(connection: Connection, command: Any, replication: Replication | None) -> Any:
    if replication is None:
        await connection.send_packed_command(pack_command(command))
        return await connection.read_response()
    wait: Any = (b"WAIT", replication.replicas, replication.patience_ms)
    await connection.send_packed_command(pack_command(command) + pack_command(wait))
    try:
        answer = await connection.read_response()
    except ResponseError:
        await connection.read_response()
        raise
    confirmed = await connection.read_response()
    if confirmed < replication.replicas:
        raise NotReplicated(f"{confirmed} of {replication.replicas} replicas have confirmed it")
    return answer
