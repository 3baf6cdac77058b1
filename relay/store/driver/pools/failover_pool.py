"""Connection pools that find the primary, and leave a server that has become a replica.

Behind a plain address (`redis://`, `rediss://`, `unix://`) a failover moves the name or the proxy; a connection that
was open stays with the old server, which then refuses every write. Behind Sentinels (`redis+sentinel://`) each new
connection asks them who the primary is. Either way a connection that gets READONLY closes, and the next one is to
the server that is the primary then. Nodes of a cluster (`redis+cluster://`) are asked in the same way
(`cluster_pool`).
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

from relay.core.redis_url.cluster import is_cluster_url, parse_cluster_url
from relay.core.redis_url.sentinel import is_sentinel_url, parse_sentinel_url
from relay.store.driver.pools.cluster_pool import cluster_pool
from relay.store.driver.pools.concurrent_pool import ConnectsConcurrently
from relay.store.driver.pools.sending import SendsByItself
from relay.store.driver.pools.tried_once import tried_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.redis_url.cluster import ClusterUrl
    from relay.core.redis_url.sentinel import SentinelUrl

_NO_SETINFO = {"lib_name": None, "lib_version": None}
"""No names of the library, which would cost each connection two round trips and every user another right."""


class _LeavesReplicas(SendsByItself):
    """A mixin that closes when the server is a replica. A subclass of `Connection` would always connect by TCP."""

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        parent: Any = super()
        try:
            return await parent.read_response(*arguments, **options)
        except ReadOnlyError:
            await parent.disconnect(nowait=True)
            raise RedisConnectionError("the server is a replica now") from None


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


class _LooksUpPrimary(SendsByItself):
    """A mixin that asks the Sentinels before each try to connect."""

    async def connect_to(self, address: tuple[str, int]) -> None:
        parent: Any = super()
        with tried_once(self):
            await parent.connect_to(address)


class _OfSentinels(_LooksUpPrimary, SentinelManagedConnection):
    pass


class _TlsOfSentinels(_LooksUpPrimary, SentinelManagedSSLConnection):
    pass


class _Pool(ConnectsConcurrently, ConnectionPool):
    pass


class _SentinelPool(ConnectsConcurrently, SentinelConnectionPool):
    """A pool that also closes its connections to the Sentinels."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  redis-py's signature
        await super().disconnect(inuse_connections)
        if inuse_connections:  # closed for good, not only the idle connections after a failover
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def open_pool(url: str, timeout: float, key_prefix: str, **options: Any) -> ConnectionPool:
    """Return a pool for the Redis at `url`, which connects on first use; a round trip fails after `timeout` seconds.

    `key_prefix` is the prefix of the relay's keys there.

    Raises:
        ValueError: `url` has none of the forms above.
    """
    sockets: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "socket_keepalive": True}
    options |= _NO_SETINFO
    if is_sentinel_url(url):
        return _sentinel_pool(parse_sentinel_url(url), sockets, options)
    if is_cluster_url(url):
        cluster = parse_cluster_url(url)
        return cluster_pool(cluster, key_prefix, {**sockets, **_tls_of(cluster), **options})
    parsed: dict[str, Any] = dict(parse_url(url))
    connection_class = parsed.get("connection_class", Connection)
    if connection_class is UnixDomainSocketConnection:
        del sockets["socket_keepalive"]  # TCP's
    if connection_class is SSLConnection:
        parsed = {**_host_check(parsed), **parsed}
    parsed["connection_class"] = _TO_PRIMARY[connection_class]
    return _Pool(**{**sockets, **options, **parsed})


def _sentinel_pool(url: SentinelUrl, sockets: dict[str, Any], options: dict[str, Any]) -> ConnectionPool:
    tls = _tls_of(url)
    credentials = {"username": url.sentinel_username, "password": url.sentinel_password}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
        url.sentinels, sentinel_kwargs={**sockets, **tls, "ssl": url.has_tls, **credentials}
    )
    return _SentinelPool(  # type: ignore[no-untyped-call]
        url.service,
        sentinel,
        connection_class=_TlsOfSentinels if url.has_tls else _OfSentinels,
        **{**sockets, **tls, **options, "db": url.db, "username": url.username, "password": url.password},
    )


def _tls_of(url: SentinelUrl | ClusterUrl) -> dict[str, Any]:
    return {**_host_check(url.tls), **url.tls} if url.has_tls else {}


def _host_check(tls: Mapping[str, Any]) -> dict[str, bool]:
    """Return the check that a certificate is for its host, which redis-py makes only if it is asked to."""
    return {"ssl_check_hostname": tls.get("ssl_cert_reqs", "required") == "required"}
