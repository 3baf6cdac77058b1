"""Lookups of names: the result of one, and the error of one that fails (`relay.net.dns` asks, with a library)."""

from __future__ import annotations

from typing import Any

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""Address as in `socket.getaddrinfo`: family, type, protocol, canonical name, and the address to connect to."""

TIMEOUT = 5.0
"""Seconds for one question, all servers and repeats included."""


class LookupFailed(OSError):
    """A name could not be resolved."""

    def __init__(self, why: str, *, is_final: bool, is_ours: bool) -> None:
        super().__init__(why)
        self.strerror = why
        self.is_final = is_final
        """True if a server has answered that the name does not exist or has no address."""
        self.is_ours = is_ours
        """True if no server answers any question: the fault is not the subscriber's."""
