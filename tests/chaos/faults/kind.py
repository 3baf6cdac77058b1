"""A kind of fault: a function that causes a failure, waits, and repairs it.

The repair is in a `finally`, so that nothing stays broken when a run is interrupted. Only one fault at a time affects
Redis (`RedisServer.in_use`), or one process; otherwise faults may overlap. An outage of a server of Redis goes on while
other faults happen (`tests.chaos.outage`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from tests.chaos.plan import Span
    from tests.chaos.stage import Stage

    Act = Callable[[Stage, random.Random, float], Awaitable[tuple[str, ...]]]
    """Causes the fault for so many seconds; returns the affected processes or teams."""


class Servers(Enum):
    """The servers of a run; values are the options."""

    SINGLE = "a single Redis"
    SENTINELS = "--sentinels"
    CLUSTER = "--cluster"


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault."""

    act: Act
    span: Span
    servers: frozenset[Servers] = frozenset(Servers)
    """The servers with which it makes sense."""
    keeps_writes: bool = False
    """True if a server that becomes the primary has all that the former one had confirmed."""
    needs_address: bool = False
    """True if this machine must have another address than loopback."""
    is_about_redis: bool = False
    """True if it must wait until no other fault affects Redis."""
    is_outage: bool = False
    """True if a server stays away when its function has returned (`tests.chaos.outage`): other faults go on."""
