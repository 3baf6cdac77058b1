"""The parts of a consumer that are the same in its async and in its blocking form: nothing here waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import tagged
from .options import EXPLICIT
from .protocol.whole import WholeMember

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .event import Event
    from .options import Options

LEAVE_TIMEOUT = 10.0
"""Seconds after which a member that leaves waits for Redis no longer."""
END_TIMEOUT = 1.5
"""Seconds in which a pump ends, unless its shard cannot be reached."""
LOOK = 0.25
"""Seconds between two looks at what must not wait for a slow handler: acknowledgements, claims, a stop."""


class ConsumerBase:
    """A consumer without its iterations."""

    def __init__(self, options: Options, block: float, *, is_of_cluster: bool) -> None:
        """`block` is the longest time, in seconds, that a read may wait at Redis."""
        if is_of_cluster:
            options = options._replace(key_prefix=tagged(options.key_prefix))
        self._options = options
        self._is_settling = options.acknowledge != EXPLICIT
        self._member = WholeMember(options, block)
        self._readings = self._member.readings
        self._current: Sequence[Event] = ()

    @property
    def member(self) -> str:
        """Name of this member."""
        return self._options.member

    @property
    def missed(self) -> int:
        """Events that were trimmed before the group read them, as far as this member has seen."""
        return sum(reading.group.missed for reading in self._readings)

    @property
    def trimmed(self) -> int:
        """Events that were trimmed while they were pending."""
        return sum(reading.group.trimmed for reading in self._readings)

    @property
    def dead(self) -> int:
        """Events that this member made dead letters."""
        return self._member.dead

    def stop(self) -> None:
        """End the iteration, or `run`, after the events that are being handled; for a signal handler."""
        self._member.stop()

    def _settle(self, events: Sequence[Event]) -> None:
        if self._is_settling:
            for event in events:
                self._member.settle(event)

    def _take(self) -> Event | None:
        """Settle the current event; make the next one the current one and return it, if it was read ahead.

        It has to be cheap: it is all that happens between two events of a batch.
        """
        if self._current:
            if self._is_settling:
                done = self._current[0]
                reading = self._readings[done.shard]
                if (entry := done.stream_id) in reading.held:
                    reading.done.append(entry)
            self._current = ()
        event = self._member.take()
        return None if event is None else self._begin(event)

    def _begin(self, event: Event) -> Event:
        """Make an event the current one."""
        event.began = True
        self._current = (event,)
        return event

    def _begin_all(self, batch: Sequence[Event]) -> None:
        for event in batch:
            event.began = True
        self._current = batch
