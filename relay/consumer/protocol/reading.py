"""Reading: the events that a member gets next, and how it keeps them.

In this order: events that are pending for the member itself (its former process died, or a reply was lost), events that
were handed back, events of members that are silent, new ones. An event that was begun before (`deliveries` above 1) is
claimed alone and only when it is about to be handled: if it kills its process, no other event counts a delivery for it.
One that was begun twice is handled alone, also by a member that handles several at a time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..errors import is_missing_group
from ..names import CLAIM_AFTER, RETURNED, order_of
from .claims import Claims
from .prefetch import Prefetch
from .renewal import renew
from .replies import claimed_events, new_events, pending_of, read_entries, text_of
from .steps import command, drained

if TYPE_CHECKING:
    from ..event import Event
    from ..options import Options
    from .group import TopicGroup
    from .prefetch import Ask
    from .replies import Pending
    from .steps import Argument, Command, Steps

LOOK_EVERY = 0.5  # seconds between two looks for events that were handed back
ACK_EVERY = 1.0  # maximum seconds from the end of a handler to its acknowledgement
_PAGE = 100
SUSPECT = 2
"""Deliveries that did not end well from which an event is handled alone."""

_log = logging.getLogger(__package__.rpartition(".")[0])


class Reading:
    """The events of one shard that a member has read and not settled."""

    def __init__(self, options: Options, group: TopicGroup, block: float) -> None:
        """`block` is the longest time, in seconds, that a read may wait at Redis."""
        self.group = group
        self.is_idle = True
        """False while a handler of this member is at work, so that events which must be handled alone wait."""
        self.buffer: deque[Event] = deque()
        self.held: dict[str, Event] = {}
        """Events that were given out, until they are acknowledged or handed back."""
        self.orphans: set[str] = set()  # trimmed while this member has them: it handles them from its memory
        self.done: deque[str] = deque()
        """Events whose acknowledgement is to be sent."""
        self._options, self._keys, self._ask = options, group.keys, group.caller.attempt
        self._stream, self._name, self.member = group.keys.stream, options.group, options.member
        self._block_ms = max(round(min(block, LOOK_EVERY) * 1000), 1)
        self._trusted = options.claim_after / 2
        """Seconds after which this member must look whether the events that it has read ahead are still its own."""
        self.claims = Claims(options.member, options.claim_after)
        self._to_bury: list[Pending] = []
        self._notes: list[Command] = []
        self.must_resync = True
        self.prefetch = Prefetch(options.prefetch)
        self._looked_at = self._claimed_at = self.acked_at = float("-inf")
        self.renewed_at = time.monotonic()
        self._quick_until = float("-inf")
        """Time until which the next event can be given out with nothing else to do."""
        self.is_stopped = False

    @property
    def beat_every(self) -> float:
        """Seconds between two renewals of claims; readers over HTTP expect one within `CLAIM_AFTER`."""
        return min(self._options.claim_after, CLAIM_AFTER) / 3

    def take(self) -> Event | None:
        """Return the next event of those that were read ahead; None if there is none, or if there is work to do first.

        It has to be cheap: it is all that happens between two events of a batch.
        """
        return None if time.monotonic() > self._quick_until else self.pop()

    def pop(self) -> Event | None:
        """Return the next event of those that were read ahead."""
        try:
            event = self.buffer.popleft()
        except IndexError:  # empty, perhaps since a moment: the heartbeat's thread removes what others have taken over
            return None
        self.held[event.stream_id] = event
        return event

    def stop(self) -> None:
        """Give out no more events without a look at whether the member stops."""
        self.is_stopped, self._quick_until = True, float("-inf")

    @property
    def must_renew(self) -> bool:
        """True if others may have taken what was read ahead: its claims were not renewed for long."""
        return bool(self.buffer) and time.monotonic() - self.renewed_at > self._trusted

    def fill(self, enough: int = 1, until: float | None = None, most: int = 0) -> Steps[None]:
        """Read until `enough` events are there, or one that must be handled alone; or until the time `until`.

        Returns also if the consumer is to stop, and if the next event must wait until this member is idle. `most` is
        the number of events to read ahead, in place of the adaptive one.
        """
        if not self.buffer:
            self.prefetch.before_read()
        want = max(most or self.prefetch.count, enough)
        while not (self.group.caller.is_stopping or self.group.has_grown):
            if self.buffer and (len(self.buffer) >= enough or self.buffer[0].deliveries > 1):
                break
            now = time.monotonic()
            if until is not None and now >= until and self.buffer:
                break
            if not self.buffer and now - self._looked_at >= LOOK_EVERY and not self.claims:
                yield from self._look(now)
            elif self.claims and not self.buffer:
                if self.claims.begun >= SUSPECT and not self.is_idle:
                    return
                yield from self._claim(want)
            elif self.claims:
                break  # it must not be claimed while others wait to be handled
            else:
                left_ms = self._block_ms if until is None or not self.buffer else round((until - now) * 1000)
                yield from self._read(want - len(self.buffer), min(left_ms, self._block_ms))
            if self._to_bury:
                return
        self.prefetch.after_read(len(self.buffer))

    def read_ahead(self, ask: Ask) -> Steps[None]:
        """Look once for events, if none is there; for a consumer that reads several shards."""
        if self.buffer:
            return
        if ask.is_adaptive:
            self.prefetch.before_read()
        most = min(ask.most, self.prefetch.count) if ask.is_adaptive else ask.most
        if not self.claims and (now := time.monotonic()) - self._looked_at >= LOOK_EVERY:
            yield from self._look(now)
        if not self.claims:
            yield from self._read(most, min(round(ask.block * 1000), self._block_ms))
        elif ask.is_alone or not self.claims.begun:
            yield from self._claim(most)
        self.prefetch.after_read(len(self.buffer))

    def flush(self, *, must: bool = False) -> Steps[None]:
        """Send acknowledgements, if some have waited for long or they `must` be sent."""
        if self.done and (must or time.monotonic() - self.acked_at > ACK_EVERY):
            yield from self._send("acknowledging", [])
        self.note(acked=True)

    def note(self, *, acked: bool = False, renewed: bool = False) -> None:
        """Note that all has just been acknowledged, or renewed."""
        now = time.monotonic()
        self.acked_at = now if acked else self.acked_at
        self.renewed_at = now if renewed else self.renewed_at
        if not self.is_stopped:
            self._quick_until = min(self.acked_at + ACK_EVERY, self.renewed_at + self._trusted)

    def _resync(self) -> None:
        self.claims.clear()
        self.must_resync, self._looked_at = True, float("-inf")

    def due_to_bury(self) -> list[Pending]:
        """Return the events that were delivered too often, once."""
        due, self._to_bury = self._to_bury, []
        return due

    def gone(self, entries: list[str]) -> Steps[None]:
        """Acknowledge and count those of `entries` that no longer exist; the others belong to other members."""
        self.done.extend((yield from self.group.trimmed_among(entries)))

    def renew(self) -> Steps[None]:
        """Renew the claims on what this member has; see `renewal`."""
        return renew(self)

    def pending_for(self, member: str, count: int) -> Command:
        """Return the command that lists what is pending for a member."""
        return command(b"XPENDING", self._stream, self._name, b"-", b"+", count, member)

    def claim_of(self, least_idle: int, *what: Argument) -> Command:
        """Return the command that claims entries for this member."""
        return command(b"XCLAIM", self._stream, self._name, self.member, least_idle, *what)

    def _look(self, now: float) -> Steps[None]:
        """Find events that were delivered before and are to be delivered again."""
        count = _PAGE + len(self.held)
        looks = [self.pending_for(RETURNED, _PAGE)]
        if self.must_resync:
            looks.append(self.pending_for(self.member, count))
        is_claiming = now - self._claimed_at >= self.beat_every
        if is_claiming:
            idle = (b"IDLE", self.claims.claim_ms)
            looks.append(command(b"XPENDING", self._stream, self._name, *idle, b"-", b"+", count))
        more = [self.group.look_for_shards()] if is_claiming and not self.group.shard else []
        resyncing = self.must_resync
        self.must_resync = False
        replies = yield from self._send("looking for pending events", [*looks, *more, *self.group.look()])
        if replies is None:
            return
        for reply in replies[len(looks) : -3]:
            self.group.see_shards(reply)
        self._notes += self.group.see(*replies[-3:])
        own = replies[1] if resyncing else []
        self.must_resync = self.must_resync or len(own) == count
        found = (row for reply in replies[: len(looks)] for row in pending_of(reply))
        if not self.claims.add({row.entry: row for row in found if row.entry not in self.held}.values()):
            self._looked_at = time.monotonic()
            if is_claiming:
                self._claimed_at = self._looked_at

    def _claim(self, want: int) -> Steps[None]:
        """Claim the events that are due: those that were never begun together, any other alone."""
        rows, most = self.claims.take(want), self._options.max_deliveries
        first = rows[0]
        if most and first.deliveries >= most:
            self._to_bury.append(first)
            return
        entries = [row.entry for row in rows]
        least_idle = min(row.idle_ms for row in rows)  # as seen: another may have claimed them since, its own too
        count = (b"RETRYCOUNT", first.deliveries + 1) if first.holder == self.member else ()
        span = (entries[0], entries[-1], len(entries), self.member)
        replies = yield from self._send(
            "claiming events",
            [
                self.claim_of(least_idle, *entries, *count),
                command(b"XPENDING", self._stream, self._name, *span),
            ],
        )
        if replies is None:
            return
        counts = {row.entry: row.deliveries for row in pending_of(replies[1])}
        events = claimed_events(replies[0], counts, self.group.shard)
        self._keep(events)
        if missing := set(entries) - {event.stream_id for event in events}:
            yield from self.gone(sorted(missing, key=order_of))

    def _read(self, count: int, block_ms: int) -> Steps[None]:
        """Read new events; wait for some at Redis."""
        looks = self.group.look() if self.group.must_watch else []
        block = (b"BLOCK", block_ms) if block_ms > 0 else ()
        read = (self._name, self.member, b"COUNT", count, *block, b"STREAMS", self._stream, b">")
        replies = yield from self._send("reading a topic", [*looks, command(b"XREADGROUP", b"GROUP", *read)])
        if replies is None:
            return
        if looks:
            self._notes += self.group.see(*replies[:3])
        entries = read_entries(replies[-1])
        if entries:
            held = self.held
            if held:  # a group that was made again delivers what this member is at work on
                entries = [row for row in entries if text_of(row[0]) not in held]
            self._keep(new_events(entries, self.group.shard))
        else:
            yield from self.group.find_topic()

    def _keep(self, events: list[Event]) -> None:
        if not self.held and not self.buffer:
            self.note(renewed=True)
        self.buffer.extend(events)

    def _send(self, what: str, commands: list[Command]) -> Steps[list[Any] | None]:
        """Send `commands` after what is to be acknowledged and noted; return their replies, or None after an outage.

        If the group was lost, it is made again, and what was read ahead is dropped: it will be delivered again.
        """
        acknowledged = drained(self.done)
        encoded = " ".join(acknowledged).encode().split()  # quicker than redis-py's encoding of each
        first = [command(b"XACK", self._stream, self._name, *encoded)] if acknowledged else []
        notes, self._notes = self._notes, []
        first += notes
        try:
            replies = yield from self._ask(what, *first, *commands)
        except BaseException:
            self.done.extendleft(reversed(acknowledged))
            raise
        if replies is None:
            self.done.extendleft(reversed(acknowledged))
            self._resync()  # a reply that was lost may have had events
            return None
        self.note(acked=True)
        for entry in acknowledged:
            self.held.pop(entry, None)
        if any(map(is_missing_group, replies)):
            self.buffer.clear()
            self._resync()
            yield from self.group.make(was_lost=True)
            return None
        return replies[len(first) :]
