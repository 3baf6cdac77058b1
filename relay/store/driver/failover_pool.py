"""Connection pools that find the primary, and leave a server that has become a replica.

Behind a plain address (`redis://`, `rediss://`, `unix://`) a failover moves the name or the proxy; a connection that
was open stays with the old server, which then refuses every write. Behind Sentinels (`redis+sentinel://`) each new
connection asks them who the primary is. Either way a connection that is told READONLY closes, and the next one is to
the server that is the primary then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError

from relay.core.redis_url.sentinel import is_sentinel_url, parse_sentinel_url

if TYPE_CHECKING:
    from relay.core.redis_url.sentinel import SentinelUrl


_UVLOOP_CLOSED = "the handler is closed"


class _Sound:
    """Of a connection that is lost while it is being made, redis-py lets uvloop's own error through: a RuntimeError."""

    async def send_packed_command(self, *arguments: Any, **how: Any) -> None:
        parent: Any = super()
        try:
            await parent.send_packed_command(*arguments, **how)
        except RuntimeError as error:
            # uvloop has no exception of its own for a closed transport, so its text is all there is to match:
            # `_ensure_alive` in https://github.com/MagicStack/uvloop/blob/master/uvloop/handles/handle.pyx
            if _UVLOOP_CLOSED not in str(error):
                raise
            raise RedisConnectionError("the connection was closed") from error


class _LeavesReplicas(_Sound):
    """Closes when its server is a replica. A mixin: a subclass of `Connection` would always connect by TCP."""

    async def read_response(self, *arguments: Any, **how: Any) -> Any:
        parent: Any = super()
        try:
            return await parent.read_response(*arguments, **how)
        except ReadOnlyError:
            await parent.disconnect(nowait=True)
            raise RedisConnectionError("it is a replica now") from None


class _ToPrimary(_LeavesReplicas, Connection):
    pass


class _TlsToPrimary(_LeavesReplicas, SSLConnection):
    pass


class _SocketToPrimary(_LeavesReplicas, UnixDomainSocketConnection):
    pass


_TO_PRIMARY: dict[type, type] = {
    Connection: _ToPrimary,
    SSLConnection: _TlsToPrimary,
    UnixDomainSocketConnection: _SocketToPrimary,
}


class _OfSentinels(_Sound, SentinelManagedConnection):
    pass


class _TlsOfSentinels(_Sound, SentinelManagedSSLConnection):
    pass


class _SentinelPool(SentinelConnectionPool):
    """Closes its connections to the Sentinels, too."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  redis-py's signature
        await super().disconnect(inuse_connections)
        if inuse_connections:  # it is closed for good, not only its idle ones after a failover
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def open_pool(url: str, patience: float, **options: Any) -> ConnectionPool:
    """Connections to the Redis at `url`, made when first used; a round trip fails after `patience` seconds.

    Raises:
        ValueError: `url` is not one of the forms above.
    """
    sockets: dict[str, Any] = {"socket_timeout": patience, "socket_connect_timeout": patience, "socket_keepalive": True}
    if is_sentinel_url(url):
        return _sentinel_pool(parse_sentinel_url(url), sockets, options)
    parsed: dict[str, Any] = dict(parse_url(url))
    connection_class = parsed.get("connection_class", Connection)
    if connection_class is UnixDomainSocketConnection:
        del sockets["socket_keepalive"]  # TCP's
    parsed["connection_class"] = _TO_PRIMARY[connection_class]
    return ConnectionPool(**{**sockets, **options, **parsed})


def _sentinel_pool(url: SentinelUrl, sockets: dict[str, Any], options: dict[str, Any]) -> ConnectionPool:
    tls = {"ssl": True} if url.has_tls else {}
    credentials = {"username": url.sentinel_username, "password": url.sentinel_password}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
        url.sentinels, sentinel_kwargs={**sockets, **tls, **credentials}
    )
    return _SentinelPool(  # type: ignore[no-untyped-call]
        url.service,
        sentinel,
        connection_class=_TlsOfSentinels if url.has_tls else _OfSentinels,
        **{**sockets, **options, "db": url.db, "username": url.username, "password": url.password},
    )
