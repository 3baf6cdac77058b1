"""Connections whose address is looked up: each try to connect asks for the primary again.

redis-py repeats the tries of one `connect` at the address that the connection has, as often as its `Retry` says. A
worker's queues retry for ever: they would wait at a primary that is gone until its machine is repaired, while its
replica serves. So a look-up and one try are repeated together.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONCE = Retry(NoBackoff(), 0)


@contextmanager
def tried_once(connection: Any) -> Iterator[None]:
    """Have `connection` make one try at its address; its other commands are not affected."""
    retry, connection.retry = connection.retry, _ONCE
    try:
        yield
    finally:
        connection.retry = retry


async def raise_if_refused(error: Exception) -> None:
    """Raise the error if another try cannot help: the user name or password is wrong."""
    if isinstance(error, AuthenticationError):
        raise error
