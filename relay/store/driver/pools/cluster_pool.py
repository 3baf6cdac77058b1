"""A connection pool for one slot of a Redis Cluster: all connections are to the primary that serves the slot.

All keys of the relay are in one slot (`keys.tagged`), so one primary has them all, and scripts, transactions, pipelines
and blocking reads work there as at a single Redis. Each new connection asks a node who the primary is (CLUSTER SLOTS),
and one to a former primary is replaced before its next use. A connection closes when the cluster redirects it (MOVED,
ASK), when it cannot answer now (TRYAGAIN, CLUSTERDOWN) or becomes a replica (READONLY). In all these cases the command
was not executed; its caller gets the error of a lost connection and tries again, like after a failover.

ASK and TRYAGAIN come while the keys of the slot are being moved one by one. They are not followed to the other node:
the relay waits until the slot has moved as a whole. Until then Redis refuses every command that needs a key which is
not on the old node, and every script that writes, since each names such a key (`driver.scripts`): nothing is lost,
doubled or written by halves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio import Connection, ConnectionPool, SSLConnection
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.store.driver.pools.concurrent_pool import ConnectsConcurrently
from relay.store.driver.pools.sending import SendsByItself
from relay.store.driver.pools.tried_once import raise_if_refused, tried_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relay.core.redis_url.cluster import ClusterUrl

    Address = tuple[str, int]

_REDIRECTIONS = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN", "UNBLOCKED ")
"""Beginnings of errors; a blocking read is UNBLOCKED when its stream moves, and asks again if that was deleted."""
NOT_SERVED = "the node of the cluster does not serve these keys now"
"""Beginning of the error of a connection that the cluster redirects, or cannot answer."""
_IN_SCRIPT = "Script attempted to access a non local key"
_NO_CLUSTER = "cluster support disabled"


class NotAClusterError(RedisError):
    """REDIS_URL names a cluster, and its server is none."""


class NodeRefusesError(AuthenticationError):
    """A node does not know the user or the password: each has its own users."""

    def __init__(self, node: Address, text: str) -> None:
        self.node = f"{node[0]}:{node[1]}"
        super().__init__(text)


class _Nodes:
    """The nodes of a cluster, and the primary that serves a slot."""

    def __init__(self, seeds: Iterable[Address], slot: int, connection: type, options: dict[str, Any]) -> None:
        self.primary: Address | None = None
        """The primary when a node was last asked."""
        self._seeds = tuple(seeds)
        self._nodes = list(self._seeds)  # to be asked in this order; one that does not answer goes to the end
        self._slot = slot
        self._connection, self._options = connection, options
        self._asking = asyncio.Lock()
        self._began = -1.0

    async def ask(self) -> Address:
        """Return the primary as a node knows it now; calls at the same time share an answer.

        Raises:
            NotAClusterError: it is no cluster.
            RedisConnectionError: no node answers, or no primary serves the slot.
        """
        now = asyncio.get_running_loop().time
        called = now()
        async with self._asking:
            if self.primary is None or self._began < called:
                self._began = now()
                self.primary = await self._ask_in_turn()
            return self.primary

    def notice(self, error: str) -> None:
        """Ask the node first to which an answer redirects."""
        if error.startswith("MOVED "):
            host, _, port = error.split()[2].rpartition(":")
            if host and port.isdecimal():  # without a host it is another port of the same machine
                self._put_first((host, int(port)))

    async def _ask_in_turn(self) -> Address:
        reason = "it names no node"
        for node in tuple(self._nodes):
            try:
                rows = await self._slots_at(node)
            except AuthenticationError:
                raise
            except (RedisConnectionError, RedisTimeoutError, OSError) as error:
                self._nodes.remove(node)
                self._nodes.append(node)
                reason = str(error) or type(error).__name__
                continue
            self._put_last(_nodes_in(rows, node))
            for start, end, primary, *_ in rows:
                if start <= self._slot <= end:
                    return _address(primary, node)
            reason = f"no primary serves slot {self._slot}"
        raise RedisConnectionError(f"the cluster cannot be used now: {reason}")

    async def _slots_at(self, node: Address) -> list[Any]:
        connection: Any = self._connection(host=node[0], port=node[1], **self._options)
        try:
            await connection.connect()
            await connection.send_command("CLUSTER", "SLOTS")
            rows: list[Any] = await connection.read_response()
        except AuthenticationError as error:
            raise NodeRefusesError(node, str(error)) from None
        except ResponseError as error:
            if _NO_CLUSTER in str(error):
                raise NotAClusterError(f"{node[0]}:{node[1]} runs without cluster mode") from None
            raise
        finally:
            await connection.disconnect(nowait=True)
        return rows

    def _put_first(self, node: Address) -> None:
        self._nodes = [node, *(other for other in self._nodes if other != node)]

    def _put_last(self, nodes: Iterable[Address]) -> None:
        """Know these nodes and the seeds, and forget others: a cluster may replace all its nodes while we run."""
        known = dict.fromkeys((*nodes, *self._seeds))
        kept = [node for node in self._nodes if node in known]
        self._nodes = list(dict.fromkeys((*kept, *known)))


def _nodes_in(rows: list[Any], asked: Address) -> Iterator[Address]:
    for _, _, *nodes in rows:
        for node in nodes:
            yield _address(node, asked)


def _address(node: list[Any], asked: Address) -> Address:
    """Return the address of a node; one without a name is reached like the node that was asked."""
    host = node[0].decode() if node[0] else ""
    return (host if host not in {"", "?"} else asked[0]), int(node[1])


class _OfCluster(SendsByItself):
    """A mixin that connects to the primary, and leaves it when it serves the slot no longer."""

    def __init__(self, *, nodes: _Nodes, **options: Any) -> None:
        parent: Any = super()
        parent.__init__(**options)
        self._of = nodes

    async def connect(self) -> None:
        connection: Any = self
        if not connection.is_connected:
            await connection.retry.call_with_retry(self._connect_to_primary, raise_if_refused)

    async def _connect_to_primary(self) -> None:
        connection: Any = self
        parent: Any = super()
        connection.host, connection.port = await self._of.ask()
        try:
            with tried_once(connection):
                await parent.connect()
        except AuthenticationError as error:
            raise NodeRefusesError((connection.host, connection.port), str(error)) from None

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        parent: Any = super()
        try:
            return await parent.read_response(*arguments, **options)
        except ResponseError as error:
            text = str(error)
            if not (isinstance(error, ReadOnlyError) or text.startswith(_REDIRECTIONS) or _IN_SCRIPT in text):
                raise
            self._of.notice(text)
            await parent.disconnect(nowait=True)
            raise RedisConnectionError(f"{NOT_SERVED}: {text}") from None


class _Connection(_OfCluster, Connection):
    pass


class _TlsConnection(_OfCluster, SSLConnection):
    pass


class _ToNode(SendsByItself, Connection):
    pass


class _TlsToNode(SendsByItself, SSLConnection):
    pass


class _ClusterPool(ConnectsConcurrently, ConnectionPool):
    """A pool that replaces connections to a former primary."""

    def __init__(self, nodes: _Nodes, **options: Any) -> None:
        super().__init__(nodes=nodes, **options)
        self._nodes = nodes

    async def ensure_connection(self, connection: Any) -> None:
        """Connect it to the primary, if it is not."""
        if connection.is_connected and (connection.host, connection.port) != self._nodes.primary:
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)


def cluster_pool(url: ClusterUrl, key_prefix: str, options: dict[str, Any]) -> ConnectionPool:
    """Return a pool for the slot of the keys with the prefix `key_prefix`."""
    options = {**options, "username": url.username, "password": url.password}
    to_node = {name: value for name, value in options.items() if name not in {"retry", "retry_on_error"}}
    nodes = _Nodes(url.nodes, key_slot(key_prefix.encode()), _TlsToNode if url.has_tls else _ToNode, to_node)
    return _ClusterPool(nodes, connection_class=_TlsConnection if url.has_tls else _Connection, **options)
