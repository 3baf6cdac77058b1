"""Hand-over: a commit gives events at once to lanes whose workers are in the router's own process.

Otherwise a lane learns of its events by a mark in Redis and then reads them: four round trips between routed and sent.
In a batch of one event they are most of its cost. So the router asks the lanes of a small batch whether they would send
its events now. For those that offer to take them the script reads them in the step that appends them, as the lane would
have read them, provided that its worker still holds the lease; every other lane is marked.

What was handed over is pending in Redis until it is settled. If the reply is lost, the lane searches for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from relay.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Row = tuple[bytes, list[bytes]]
    """An entry of a stream: its id, and the names and values of its fields, flat."""

MAX_EVENTS = 16
"""Events of a batch that is handed over. The lanes of larger ones read them while the router continues."""
_MAX_LANES = 16
_MAX_BYTES = 256 * 1024  # of bodies, over all lanes


class Offer(NamedTuple):
    """The offer of a lane's worker to take the new events of its topic."""

    lane: str
    lease: str
    """The key of the lease of the lane's partition."""
    token: str
    group: str
    most: int
    """The largest number of events that it takes."""


class Receiver(Protocol):
    """A lane's worker."""

    def offer(self, stream: str) -> Offer | None:
        """Return its offer, and read nothing until `take` is called; None if it cannot send events of `stream` now."""

    def take(self, rows: Sequence[Row] | None) -> None:
        """Send these events; None if the commit has failed, and may have read some."""

    def resync(self) -> None:
        """Search for pending deliveries that it does not know."""


Receivers = dict[str, Receiver]
"""The workers of the lanes that this process delivers for, by subscription."""


class HandOver:
    """The offers for one commit. Enter it: whatever happens in the context, each lane that offers gets its answer."""

    def __init__(self, receivers: Receivers, lanes: Iterable[tuple[str, str]] = (), size: int = 0) -> None:
        """`lanes` are names of lanes with the streams of their topics; `size` is that of all bodies, bytes."""
        self._receivers = receivers
        self._asked: dict[str, Receiver] = {}
        self.arguments: list[bytes | str | int] = [keys.CONSUMER, 0]
        """The arguments of the script."""
        for lane, stream in lanes:
            if len(self._asked) == _MAX_LANES or len(self._asked) * size > _MAX_BYTES:
                break
            receiver = receivers.get(lane)
            if receiver is not None and (offer := receiver.offer(stream)) is not None:
                self._asked[lane] = receiver
                self.arguments += offer
        self.arguments[1] = len(self._asked)

    def give(self, given: Sequence[bytes | Sequence[Row]]) -> None:
        """Give the lanes what the script has read: names of lanes, each with its rows."""
        for name, rows in zip(given[::2], given[1::2], strict=True):
            self._give(name.decode(), rows)  # type: ignore[union-attr, arg-type]  # they alternate
        for lane in [*self._asked]:
            self._give(lane, ())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Tell lanes without an answer that the commit may have read events, and which is not known."""
        for lane in [*self._asked]:
            self._give(lane, None)

    def _give(self, lane: str, rows: Sequence[Row] | None) -> None:
        receiver = self._asked.pop(lane)
        receiver.take(rows)
        heir = self._receivers.get(lane)
        if heir is not None and heir is not receiver:  # its search for orphans may have been before the commit
            heir.resync()


@contextmanager
def receiving(receivers: Receivers, lane: str, receiver: Receiver) -> Iterator[None]:
    """Let commits hand events over to `receiver` while the context is open."""
    receivers[lane] = receiver
    try:
        yield
    finally:
        if receivers.get(lane) is receiver:
            del receivers[lane]
