"""What Linq signed but we could not read as an envelope: set aside for a person, answered 200, never lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.errors import StoreUnavailable
from relay.store import names
from relay.store.connect import REQUEST_PATIENCE, RedisTrouble, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from relay.core.event import Dialect

_PAGE = 200


@dataclass(frozen=True, slots=True)
class SetAside:
    """One body that is no envelope."""

    entry: str
    at: int
    """When it came, Unix milliseconds."""
    dialect: str
    line: str | None
    reason: str
    body: bytes


class Aside:
    """The stream of bodies that could not be read."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, dialect: Dialect, line: str | None, body: bytes, reason: str, now_ms: int) -> None:
        """Keeps `body`.

        Raises:
            StoreUnavailable: Redis did not take it in time.
        """
        try:
            async with asyncio.timeout(REQUEST_PATIENCE), self._redis.pipeline(transaction=True) as pipe:
                pipe.xadd(names.ASIDE, fields_of(dialect, line, body, reason, now_ms))  # type: ignore[arg-type]
                pipe.hincrby(names.COUNTS, "aside", 1)
                await pipe.execute()
        except RedisTrouble as error:
            raise StoreUnavailable(f"Redis did not take the body: {describe(error)}") from error

    async def all(self) -> AsyncIterator[SetAside]:
        """Everything that is set aside, oldest first."""
        start = "-"
        while rows := await self._redis.xrange(names.ASIDE, start, "+", count=_PAGE):
            for entry, fields in rows:
                yield SetAside(
                    entry=entry.decode(),
                    at=int(fields[b"at"]),
                    dialect=fields[b"dialect"].decode(),
                    line=fields[b"line"].decode() or None,
                    reason=fields[b"reason"].decode(errors="replace"),
                    body=fields[b"body"],
                )
            start = f"({rows[-1][0].decode()}"


def fields_of(
    dialect: Dialect, line: str | None, body: bytes, reason: str, at: bytes | int
) -> dict[str, bytes | str | int]:
    """The entry of a body that is set aside."""
    return {"at": at, "dialect": dialect, "line": line or "", "reason": reason.encode(errors="replace"), "body": body}
