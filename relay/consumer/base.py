"""The parts of a consumer that are the same in its async and in its blocking form: nothing here waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import tagged
from .options import EXPLICIT
from .protocol.member import Member

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .event import Event
    from .options import Options

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
        self._member = Member(options, block)
        self._reading = self._member.reading
        self._current: Sequence[Event] = ()

    @property
    def member(self) -> str:
        """Name of this member."""
        return self._options.member

    @property
    def missed(self) -> int:
        """Events that were trimmed before the group read them, as far as this member has seen."""
        return self._member.group.missed

    @property
    def trimmed(self) -> int:
        """Events that were trimmed while they were pending."""
        return self._member.group.trimmed

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
            if self._is_settling and (entry := self._current[0].entry) in self._reading.held:
                self._reading.done.append(entry)
            self._current = ()
        event = self._reading.take()
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
