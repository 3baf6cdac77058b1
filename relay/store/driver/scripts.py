"""Lua scripts: a file each beside its caller, sent by hash, or in full if Redis does not have it (after a restart).

Scripts that settle, trim and renew a lease have the flag `allow-oom`: they run also when Redis has reached `maxmemory`,
so that accepted events can leave (https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags).

Arguments are packed by hiredis in C: redis-py's own packing is pure Python and costs more than the round trip for a
batch of events. Where long ones are expected, they are not copied but sent from where they are (`_pieces`).
"""

from __future__ import annotations

import re
import sys
from functools import cache, partial
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hiredis import pack_command
from redis.exceptions import NoScriptError, ResponseError

from relay.store.driver.replication import NotReplicated, Replication

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Connection

    from relay.store.driver.client import Redis
    from relay.store.driver.ordered_connection import Read

    Argument = bytes | str | int

LONG = 4096
"""Bytes of an argument beyond which it is cheaper to send it from where it is than to copy it into the command."""

_SHARED = Path(__file__).parent
"""The folder of files that scripts of several packages include."""
_INCLUDE = re.compile(rb"--#include (\S+)")


class _Exchanges(Protocol):
    """A connection that sends what it is given in order (`ordered_connection`, `inbox.next_read`)."""

    absent: str
    """The key that scripts are given on a cluster (`keys`); otherwise empty."""

    async def exchange(self, packed: Sequence[bytes], read: Read) -> Any:
        """Send the pieces of `packed`, and return its reply as `read` parses it."""


class Script:
    """A Lua script of a package, ready to run on any Redis."""

    def __init__(self, package: str, name: str, *, names_all_keys: bool = False) -> None:
        """`names_all_keys` is True if KEYS has every key that the script uses.

        On a cluster another script that writes is given one more key, which never exists: while a slot is being moved
        key by key, Redis then refuses the script as a whole, where it would stop it between two writes.
        """
        self.name = name
        self._source = _read(Path(sys.modules[package].__path__[0]), name)
        self._sha = sha1(self._source).hexdigest().encode()  # noqa: S324  Redis names scripts by their SHA-1
        # A user who may only read may run a script by these commands only.
        suffix = b"_RO" if b"no-writes" in self._source.partition(b"\n")[0] else b""
        self._is_guarded = not suffix and not names_all_keys
        self._by_hash, self._in_full = b"EVALSHA" + suffix, b"EVAL" + suffix

    async def __call__(
        self,
        redis: Redis,
        keys: Sequence[Argument],
        arguments: Sequence[Argument],
        replication: Replication | None = None,
    ) -> Any:
        """Run the script and return its result, in one round trip, or two if Redis does not have the script.

        Raises:
            NotReplicated: the script has run, but too few replicas have confirmed its writes.
        """
        connection = await redis.connection_pool.get_connection()
        try:
            return await self._run(
                partial(_exchange, connection), self._keys(keys, redis.key.absent), arguments, replication
            )
        finally:
            await redis.connection_pool.release(connection)

    async def each(
        self, redis: Redis, calls: Sequence[tuple[Sequence[Argument], Sequence[Argument]]]
    ) -> list[Any | ResponseError]:
        """Run the script once for each of `calls` (keys and arguments), all in one round trip.

        Returns a result for each; an error of one is its result.
        """
        calls = [(self._keys(keys, redis.key.absent), arguments) for keys, arguments in calls]
        connection = await redis.connection_pool.get_connection()
        try:
            replies = await _exchange_all(connection, [self._command(*call) for call in calls])
            if unknown := [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]:
                commands = [self._command(*calls[at], in_full=at == unknown[0]) for at in unknown]
                for at, reply in zip(unknown, await _exchange_all(connection, commands), strict=True):
                    replies[at] = reply
            return replies
        finally:
            await redis.connection_pool.release(connection)

    def _command(self, keys: Sequence[Argument], arguments: Sequence[Argument], *, in_full: bool = False) -> Any:
        head = (self._in_full, self._source) if in_full else (self._by_hash, self._sha)
        return (*head, len(keys), *keys, *arguments)

    async def in_order(
        self,
        connection: _Exchanges,
        keys: Sequence[Argument],
        arguments: Sequence[Argument],
        replication: Replication | None = None,
        *,
        has_long: bool = False,
    ) -> Any:
        """Run the script after all earlier calls on `connection`; otherwise like `__call__`.

        `has_long` is True if an argument is over `LONG` bytes. To look at each of a batch of short events costs 2 %
        of the ingress's instructions.
        """
        keys = self._keys(keys, connection.absent)
        return await self._run(connection.exchange, keys, arguments, replication, has_long=has_long)

    def _keys(self, keys: Sequence[Argument], absent: str) -> Sequence[Argument]:
        return (*keys, absent) if absent and self._is_guarded else keys

    async def _run(
        self,
        exchange: Callable[[Sequence[bytes], Read], Awaitable[Any]],
        keys: Sequence[Argument],
        arguments: Sequence[Argument],
        replication: Replication | None,
        *,
        has_long: bool = False,
    ) -> Any:
        pack = _pieces if has_long else _in_one
        read = _read_reply if replication is None else partial(_read_confirmed, replication)
        wait = [] if replication is None else _in_one(("WAIT", replication.replicas, replication.timeout_ms))
        rest = (len(keys), *keys, *arguments)
        try:
            return await exchange(pack((self._by_hash, self._sha, *rest)) + wait, read)
        except NoScriptError:
            return await exchange(pack((self._in_full, self._source, *rest)) + wait, read)


def _read(folder: Path, name: str) -> bytes:
    """Return the script's text, with `--#include x` lines replaced by `x.inc.lua`."""
    source = (folder / f"{name}.lua").read_bytes().removesuffix(b"\n")
    return _INCLUDE.sub(lambda found: _included(folder, found[1].decode()), source)


@cache  # a worker starts with 50 scripts, which include the same few files: 10 ms of CPU time, 19 without
def _included(folder: Path, name: str) -> bytes:
    own = folder / f"{name}.inc.lua"
    return (own if own.is_file() else _SHARED / own.name).read_bytes()


async def _exchange(connection: Connection, packed: Sequence[bytes], read: Read) -> Any:
    await connection.send_packed_command(packed)
    return await read(connection)


async def _exchange_all(connection: Connection, commands: Sequence[Any]) -> list[Any | ResponseError]:
    await connection.send_packed_command(b"".join(map(pack_command, commands)))
    replies: list[Any | ResponseError] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies


def _in_one(command: tuple[Any, ...]) -> list[bytes]:
    return [pack_command(command)]


def _pieces(command: tuple[Any, ...]) -> list[bytes]:
    """Pack a command, in pieces to be sent one after the other: each argument over `LONG` bytes is one, as it is.

    hiredis copies twice, for large commands into memory that the system gives and takes back each time: in a loop that
    packs batches of 16 events of 10 kB, an event takes 21 us, and 2 us in pieces.
    """
    pieces: list[bytes] = []
    before, start = b"*%d\r\n" % len(command), 0
    for at, argument in enumerate(command):
        if type(argument) is bytes and len(argument) > LONG:
            between = _without_count(pack_command(command[start:at]))
            pieces += (b"%b%b$%d\r\n" % (before, between, len(argument)), argument)
            before, start = b"\r\n", at + 1
    pieces.append(before + _without_count(pack_command(command[start:])))
    return pieces


def _without_count(packed: bytes) -> bytes:
    """Return packed arguments without their number, which is written before them."""
    return packed.partition(b"\r\n")[2]


async def _read_reply(connection: Connection) -> Any:
    return await connection.read_response()


async def _read_confirmed(replication: Replication, connection: Connection) -> Any:
    try:
        reply = await connection.read_response()
    except ResponseError:
        await connection.read_response()
        raise
    confirmed = await connection.read_response()
    if confirmed < replication.replicas:
        raise NotReplicated(f"{confirmed} of {replication.replicas} replicas have confirmed the write")
    return reply
