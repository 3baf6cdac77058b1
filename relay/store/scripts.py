"""Lua scripts: one file each in `lua/`, sent by hash, and whole when Redis does not know it (a restart, a failover).

Arguments are packed by hiredis in C: redis-py's own packing is pure Python and costs more than the round trip for a
batch of events.
"""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Connection, Redis

    Argument = bytes | str | int

_LUA = files("relay.store") / "lua"


class Script:
    """One Lua script, ready to run on any Redis."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._source = _read(name)
        self._sha = sha1(self._source).hexdigest().encode()  # noqa: S324  Redis names scripts by their SHA-1

    async def __call__(self, redis: Redis, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """What the script returns; one round trip, or two when Redis has to be told the script."""
        connection = await redis.connection_pool.get_connection()
        try:
            try:
                return await _round_trip(connection, b"EVALSHA", self._sha, keys, arguments)
            except NoScriptError:
                return await _round_trip(connection, b"EVAL", self._source, keys, arguments)
        finally:
            await redis.connection_pool.release(connection)


def _read(name: str) -> bytes:
    """The script's text, with `--#include x` lines replaced by `x.inc.lua`."""
    lines = (_LUA / f"{name}.lua").read_text().splitlines()
    included = (
        (_LUA / f"{line.split()[1]}.inc.lua").read_text() if line.startswith("--#include ") else line for line in lines
    )
    return "\n".join(included).encode()


async def _round_trip(
    connection: Connection, command: bytes, script: bytes, keys: Sequence[Argument], arguments: Sequence[Argument]
) -> Any:
    parts: Any = (command, script, len(keys), *keys, *arguments)
    await connection.send_packed_command(pack_command(parts))
    return await connection.read_response()
