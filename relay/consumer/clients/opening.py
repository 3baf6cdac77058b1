"""Opening of a client from a URL, the same for async and blocking ones."""

from __future__ import annotations

from typing import Any

from .urls import SOCKET_TIMEOUT, is_cluster, is_sentinel, options_of, parse_cluster, parse_sentinel


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
        self._is_ours = isinstance(source, str)
        self._sentinel: Any = None
        self.client: Any = self._open(source, retry) if isinstance(source, str) else source

    @property
    def is_of_cluster(self) -> bool:
        """True if the client is one of a cluster, where the prefix of keys is a hash tag."""
        return isinstance(self.client, self._cluster)

    @property
    def block(self) -> float:
        """Seconds that a read may wait at Redis without a timeout of the client."""
        pool = getattr(self.client, "connection_pool", None)
        timeout = pool.connection_kwargs.get("socket_timeout") if pool is not None else SOCKET_TIMEOUT
        return float(timeout or SOCKET_TIMEOUT) / 2

    def _open(self, url: str, retry: Any) -> Any:
        if is_cluster(url):
            nodes, options = parse_cluster(url)
            return self._cluster(startup_nodes=[self._node(host, port) for host, port in nodes], **options)
        if not is_sentinel(url):
            return self._redis.from_url(url, retry=retry, **options_of(url))
        parsed = parse_sentinel(url)
        self._sentinel = self._sentinels(parsed.sentinels, sentinel_kwargs={**parsed.sentinel_options, "retry": retry})
        return self._sentinel.master_for(parsed.service, **parsed.options, retry=retry)
