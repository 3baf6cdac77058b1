"""Accepting connections: opens the sockets of an address, and makes a protocol for each connection.

asyncio's own servers are not used, because of a process that runs out of descriptors: on uvloop, libuv closes waiting
connections without a word, and once it has lost its spare descriptor it tries again without end, which stops the whole
process. Here they wait in the kernel's queue for a moment, the cause is logged once a second, and accepting continues.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.net.listen_address import Listen

_BACKLOG = 1024  # connections that wait to be accepted; a burst of Linq's is larger than the default of 128
_BATCH = 256  # connections that are accepted before the others get their turn
_PAUSE = 1.0  # seconds without accepting after a shortage
_EVERY_IPV6 = "::"
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NO_SUCH_FAMILY = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))

log = structlog.get_logger()


class Acceptor:
    """A listening socket, from which connections are accepted until it is closed."""

    def __init__(self, listener: socket.socket, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Start accepting; `factory` makes the protocol of a connection."""
        listener.setblocking(False)  # noqa: FBT003  socket's signature
        self._listener = listener
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._resuming: asyncio.TimerHandle | None = None
        self._resume()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    async def close(self) -> None:
        """Accept the connections that wait already, which closing would reset, and close the socket."""
        if self._resuming is not None:
            self._resuming.cancel()
        else:
            self._loop.remove_reader(self._listener)
        self._accept_batch()
        self._listener.close()
        await asyncio.gather(*self._connecting)

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Accept the connections that wait; pause at a shortage of the process or of the machine."""
        shortage = self._accept_batch()
        if shortage is not None:
            log.error("connections.not_accepted", reason=os.strerror(shortage), listener=self._listener.getsockname())
            self._loop.remove_reader(self._listener)
            self._resuming = self._loop.call_later(_PAUSE, self._resume)

    def _accept_batch(self) -> int | None:
        """Accept the connections that wait; return the error number of a shortage."""
        for _ in range(_BATCH):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return None
            except OSError as error:
                return error.errno if error.errno in _SHORTAGES else None
            task = self._loop.create_task(self._connect(connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        return None

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:  # the client has left already
            connection.close()


async def open_listeners(listen: Listen, *, share_port: bool = False) -> Sequence[socket.socket]:
    """Open the sockets of an address: one for each address of its host name, one for both families of `[::]`.

    Raises:
        OSError: the address is not available.
    """
    if listen.host == _EVERY_IPV6 and socket.has_dualstack_ipv6():
        return [
            socket.create_server(
                (listen.host, listen.port),
                family=socket.AF_INET6,
                dualstack_ipv6=True,
                reuse_port=share_port,
                backlog=_BACKLOG,
            )
        ]
    found = await asyncio.get_running_loop().getaddrinfo(
        listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    refusal: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            listeners.append(socket.create_server(address, family=family, reuse_port=share_port, backlog=_BACKLOG))
        except OSError as error:
            refusal = error
            if error.errno not in _NO_SUCH_FAMILY:
                break
    if refusal and not (listeners and refusal.errno in _NO_SUCH_FAMILY):
        for listener in listeners:
            listener.close()
        raise refusal
    return listeners
