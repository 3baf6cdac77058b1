"""Opening of a client from a URL, the same for async and blocking ones."""

from __future__ import annotations

import inspect
import re
import threading
from copy import copy
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from ..errors import is_refused
from .urls import SOCKET_TIMEOUT, is_cluster, is_sentinel, options_of, parse_cluster, parse_sentinel

if TYPE_CHECKING:
    from typing_extensions import Self

_NOT_OPTIONS = ("redis_connect_func", "host", "port", "db", "path")
"""Of the options of a cluster's connections, those that its client adds or does not take."""
_UNKNOWN_NODE = re.compile("'NoneType' object has no attribute '(execute_command|redis_connection)'")
"""redis-py's text, in an AttributeError, where a slot moves to a node that joined the cluster after the client has."""


class Opened:
    """A client of Redis: opened from a URL, or the caller's, which is not closed."""

    _redis: Any
    """The class of clients of one Redis."""
    _sentinels: Any
    """The class of clients of Sentinels."""
    _cluster: Any
    """The class of clients of a cluster."""
    _node: Any
    """The class of nodes that those begin with."""

    def __init__(self, source: Any, retry: Any) -> None:
        """`source` is a URL or a client of the caller; `retry` is for clients that are opened here.

        Raises:
            ValueError: the URL has an unknown form.
        """
        self._source, self._retry = source, retry
        self._is_ours = isinstance(source, str)
        self._sentinel: Any = None
        self._others: dict[int, Self] = {}
        self._opening = threading.Lock()
        self._client: Any = self._open(source) if isinstance(source, str) else source
        self.is_of_cluster: bool = isinstance(self._client, self._cluster)
        """True if the client is one of a cluster, where the prefix of keys is a hash tag."""

    @property
    def client(self) -> Any:
        """The client. That of another shard is opened when it is first used: a blocking one of a cluster connects."""
        if self._client is None:
            with self._opening:
                if self._client is None:
                    of_url = isinstance(self._source, str)
                    self._client = self._open(self._source) if of_url else self._copy(self._source)
        return self._client

    @property
    def block(self) -> float:
        """Seconds that a read may wait at Redis without a timeout of the client."""
        pool = getattr(self.client, "connection_pool", None)
        timeout = pool.connection_kwargs.get("socket_timeout") if pool is not None else SOCKET_TIMEOUT
        return float(timeout or SOCKET_TIMEOUT) / 2

    def of(self, shard: int) -> Self:
        """Return what sends the commands of a shard.

        On a cluster each shard has a client of its own: if one node cannot be reached, a client of redis-py closes all
        of its connections, also those that wait for events at other nodes.
        """
        if not shard or not self.is_of_cluster:
            return self
        with self._opening:
            if shard not in self._others:
                another = self._others[shard] = copy(self)
                another.be_opened_again()
            return self._others[shard]

    def be_opened_again(self) -> None:
        """Use a client of its own, which is not open yet."""
        self._client, self._is_ours, self._others, self._opening = None, True, {}, threading.Lock()

    def _copy(self, client: Any) -> Any:
        """Return a client with the options of the caller's, which is one of a cluster."""
        given = dict(client.get_connection_kwargs())
        known = inspect.signature(self._cluster).parameters
        takes_all = any(each.kind is each.VAR_KEYWORD for each in known.values())
        options = {
            name: value for name, value in given.items() if (takes_all or name in known) and name not in _NOT_OPTIONS
        }
        connection_class = options.pop("connection_class", given.get("connection_class"))
        if connection_class is not None and "SSL" in connection_class.__name__:
            options["ssl"] = True
        nodes = client.get_nodes() or client.nodes_manager.startup_nodes.values()
        return self._cluster(startup_nodes=[self._node(node.host, node.port) for node in nodes], **options)

    def _open(self, url: str) -> Any:
        if is_cluster(url):
            nodes, options = parse_cluster(url)
            return self._cluster(startup_nodes=[self._node(host, port) for host, port in nodes], **options)
        if not is_sentinel(url):
            return self._redis.from_url(url, retry=self._retry, **options_of(url))
        parsed = parse_sentinel(url)
        options = {**parsed.sentinel_options, "retry": self._retry}
        self._sentinel = self._sentinels(parsed.sentinels, sentinel_kwargs=options)
        return self._sentinel.master_for(parsed.service, **parsed.options, retry=self._retry)


def is_of_unknown_node(error: BaseException) -> bool:
    """Return True if the client of a cluster was sent to a node that it does not know: it must look at them again."""
    return isinstance(error, AttributeError) and _UNKNOWN_NODE.search(str(error)) is not None


def unavailable(error: BaseException) -> BaseException:
    """Return the error; one of a cluster that is no `RedisError`, and passes, as a lost connection."""
    if is_of_unknown_node(error):
        return RedisConnectionError("a slot moves to a node that the client does not know yet")
    if not isinstance(error, RedisClusterException):
        return error
    cause = error.__cause__
    return cause if cause is not None and is_refused(cause) else RedisConnectionError(str(error))
