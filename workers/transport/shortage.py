"""Shortages of our own: what the relay lacks must not cost a subscriber an attempt.

A process that has no descriptor, port, memory or name server left cannot connect to anybody. Connections are bounded
below the process's limit of descriptors, and a part of them is reserved for each lane, so that the lanes whose
subscribers hang cannot take those of the others.
"""

from __future__ import annotations

import errno
import resource
import ssl
from collections import Counter
from typing import TYPE_CHECKING

from relay.core.net.lookups import LookupFailed

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = {
    *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
    *(errno.EADDRNOTAVAIL, errno.EAGAIN),  # of `connect`: no local port is free
}
_MIN_RESERVE = 32  # descriptors for Redis, listeners, logs, files and the second sockets of RFC 8305
_OF_SHARD = 24  # descriptors for Redis for each shard beside the first one: a busy worker has some 20 connections to it
_MAX_CONNECTIONS = 65_536  # a limit of descriptors may be a billion


class OurShortage(Exception):
    """The request could not be sent for want of something that the relay must have; the message says of what."""


def shortage_in(error: BaseException | None) -> str | None:
    """Return what `error` says the relay lacks, or None if it is not a shortage of ours."""
    if isinstance(error, LookupFailed):
        return f"DNS: {error.strerror}" if error.is_ours else None
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in _OURS:
        return str(error.strerror or error)
    return None


class Budget:
    """The connections that a process may have open, shared among its lanes."""

    def __init__(self, size: int | None = None) -> None:
        """Allow `size` connections; None for as many as the limit of descriptors leaves, less a quarter."""
        self._size = most_connections() if size is None else size
        self._used = Counter[str]()
        self._total = 0

    def take(self, subscription: str, lanes: int) -> Callable[[], None]:
        """Take a connection for `subscription`, one of `lanes`; returns the function that gives it back.

        Half of all connections are shared by the lanes as they need them; of the other half each lane has its part.

        Raises:
            OurShortage: none is left for it.
        """
        if 2 * self._total >= self._size and not self._has_room(subscription, max(lanes, len(self._used), 1)):
            raise OurShortage("no descriptor is left for another connection")
        self._used[subscription] += 1
        self._total += 1
        is_taken = True

        def give_back() -> None:
            nonlocal is_taken
            if is_taken:
                is_taken = False
                self._total -= 1
                self._used[subscription] -= 1
                if not self._used[subscription]:
                    del self._used[subscription]

        return give_back

    def _has_room(self, subscription: str, lanes: int) -> bool:
        if self._total >= self._size:
            return False
        part = max(self._size // (2 * lanes), 1)
        shared = sum(max(used - part, 0) for used in self._used.values())
        return self._used[subscription] < part or shared < self._size - part * lanes


def most_connections(shards: int = 1) -> int:
    """Return the number of connections that the limit of descriptors leaves a process with so many shards."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    of_others = min((shards - 1) * _OF_SHARD, soft // 2)
    return max(1, min(soft - max(_MIN_RESERVE + of_others, soft // 4), _MAX_CONNECTIONS))
