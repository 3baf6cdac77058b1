"""The registry of opt-outs: the handles that must not be written to from a line, since they answered STOP there.

The router records each STOP and START in the order of their times, before their batch is committed: a router that is
killed in between has its successor record them again, and an older change never undoes a newer one. Only a START (or
an erasure) ends an opt-out. A START of a handle that had not opted out is not recorded.

A handle is kept as it is, a phone number or an e-mail address: an operator must be able to compare the list with the
company's own, which a hash does not allow, and hashes of phone numbers are undone in minutes. `erase` deletes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.store.driver.client import ask
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.driver.scripts import Script
from relay.store.lines.line_keys import LineKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Literal

    from relay.store.driver.client import Redis

_OPT_INS_LIFETIME_MS = 30 * 86_400_000
_MAX_OPT_INS = 10_000  # of a line
_MAX_TIED = 100  # opt-outs of one line in the same millisecond

_record = Script(__package__, "record_opt_outs")


class OptOutChange(NamedTuple):
    """A STOP or a START of a handle on a line."""

    line: str
    handle: str
    kind: Literal["stop", "start"]
    at_ms: float
    """Time of the message, Unix milliseconds."""


class OptOut(NamedTuple):
    """A handle that has opted out of a line."""

    handle: str
    at_ms: int
    """Time of its STOP, Unix milliseconds."""


def handle_of(text: str) -> str:
    """Return a handle as it is kept and compared: e-mail addresses in lower case, without surrounding spaces."""
    return text.strip().lower()


async def record_opt_outs(redis: Redis, changes: Sequence[OptOutChange], lease_key: str, token: str) -> None:
    """Record changes in their order; `token` is that of the router's lease.

    Raises:
        LeaseLost: another router holds the lease.
    """
    keys = [lease_key, LineKeys(redis).opted_out_lines]
    arguments: list[str | int] = [token, _OPT_INS_LIFETIME_MS, _MAX_OPT_INS]
    for line, handle, kind, at_ms in changes:
        keys += (LineKeys(redis).opt_outs(line), LineKeys(redis).opt_ins(line))
        arguments += (line, handle_of(handle), kind, str(at_ms))
    if await _record(redis, keys, arguments) == -1:
        raise LeaseLost


async def opted_out_at(redis: Redis, line: str, handle: str) -> int | None:
    """Return when a handle opted out of a line, Unix milliseconds; None if it has not, or has opted in again."""
    at: float | None = await ask(redis.zscore(LineKeys(redis).opt_outs(line), handle_of(handle)))
    return None if at is None else int(at)


async def list_opt_outs(redis: Redis, line: str, count: int, after: OptOut | None = None) -> list[OptOut]:
    """Return the first `count` opt-outs of a line, the oldest first, or the first ones after `after`."""
    key, least = LineKeys(redis).opt_outs(line), after.at_ms if after else 0
    rows = await ask(redis.zrangebyscore(key, least, "+inf", start=0, num=count + _MAX_TIED, withscores=True))
    found = [OptOut(handle.decode(), int(at)) for handle, at in rows]
    return [each for each in found if after is None or (each.at_ms, each.handle) > (after.at_ms, after.handle)][:count]


async def count_opt_outs(redis: Redis, lines: Collection[str]) -> dict[str, int]:
    """Return the number of opt-outs of each of the lines."""
    async with redis.pipeline(transaction=False) as pipe:
        for line in lines:
            pipe.zcard(LineKeys(redis).opt_outs(line))
        return dict(zip(lines, await pipe.execute(), strict=True))


async def lines_with_opt_outs(redis: Redis) -> list[str]:
    """Return the lines that a handle ever opted out of."""
    return sorted(line.decode() for line in await ask(redis.smembers(LineKeys(redis).opted_out_lines)))


async def erase_handle(redis: Redis, handle: str) -> list[str]:
    """Delete every record of a handle; return the lines of which it had opted out, or in again.

    The handle may then be written to, as far as the relay knows.
    """
    lines, known = await lines_with_opt_outs(redis), handle_of(handle)
    async with redis.pipeline(transaction=False) as pipe:
        for line in lines:
            pipe.zrem(LineKeys(redis).opt_outs(line), known)
            pipe.zrem(LineKeys(redis).opt_ins(line), known)
        removed = await pipe.execute()
    return [line for line, *counts in zip(lines, removed[::2], removed[1::2], strict=True) if any(counts)]
