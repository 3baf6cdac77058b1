"""A member of a group on one shard: what becomes of an event that it was given, and how it leaves.

given out ──acknowledged──▶ gone
    │ ├────rejected, or failed `max_deliveries` times──▶ dead letter (XADD and XACK in one transaction)
    │ └────released──▶ handed back: the next member that asks gets it
    └──────the member leaves──▶ handed back; an event that was not begun does not count this delivery
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ..names import LONG_IDLE_MS, MAX_DEAD_LETTERS, MAX_ERROR, RETURNED, order_of
from .claims import claimed_together
from .group import TopicGroup
from .reading import ACK_EVERY, Reading
from .replies import claimed_events, ids_of, pending_of
from .steps import Commands, DeleteUnless, Pause, command, drained

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..event import Event
    from ..options import Options
    from .prefetch import Ask
    from .replies import Pending
    from .steps import Command, Steps

_PAGE = 100
_FIRST_RETRY, _LAST_RETRY = 0.5, 30.0  # seconds before an event that failed is handled again
_STOP_POLL_INTERVAL = 0.25  # seconds between two looks at whether to stop, while an event waits

MAX_DELIVERIES, REJECTED = "max_deliveries", "rejected"

_log = logging.getLogger(__package__.rpartition(".")[0])


class Member:
    """A member of a group on one shard."""

    def __init__(self, options: Options, block: float, shard: int = 0) -> None:
        self.group = TopicGroup(options, shard)
        self.reading = Reading(options, self.group, block)
        self.dead = 0
        """Events that became dead letters here."""
        self._has_handed_back = False
        self._beat_at = time.monotonic()
        self._options = options
        self._at = (self.group.keys.stream, options.group)
        self._insist = self.group.caller.insist

    @property
    def is_stopping(self) -> bool:
        """True once the consumer is to stop."""
        return self.group.caller.is_stopping

    def stop(self) -> None:
        """Give out no more events."""
        self.group.caller.is_stopping = True
        self.reading.stop()

    def read_ahead(self, ask: Ask) -> Steps[None]:
        """Look once for events; before that, acknowledge and renew what must not wait."""
        yield from self.reading.flush(must=not ask.most)
        if ask.most:
            yield from self._prepare()
            yield from self.reading.read_ahead(ask)
            yield from self._bury_due()

    def advance(self) -> Steps[Event | None]:
        """Return the next event; None if the consumer stops, or if the next one must wait until this member is idle.

        None, too, if there are more shards than one by now.
        """
        while not (self.is_stopping or self.group.has_grown):
            yield from self._prepare()
            yield from self.reading.fill()
            buried = yield from self._bury_due()
            if (event := self.reading.pop()) is not None or not (buried or self.reading.is_idle):
                return event
        return None

    def gather(self, size: int, wait: float) -> Steps[list[Event]]:
        """Return up to `size` events, `wait` seconds after the first one at the latest; none as for `advance`."""
        reading = self.reading
        batch: list[Event] = []
        while not (batch or self.is_stopping or self.group.has_grown):
            yield from self._prepare()
            yield from reading.fill(most=size)
            yield from self._bury_due()
            if reading.buffer:
                yield from reading.fill(size, time.monotonic() + wait, size)
            while len(batch) < size and (event := reading.pop()) is not None:
                batch.append(event)
        return batch

    def settle(self, event: Event) -> None:
        """Have the event acknowledged, together with the next commands."""
        if event.stream_id in self.reading.held:
            self.reading.done.append(event.stream_id)

    def acknowledge(self, events: Iterable[Event]) -> Steps[None]:
        """Acknowledge events now."""
        for event in events:
            self.settle(event)
        while self.reading.done:
            yield from self.reading.flush(must=True)

    def reject(self, event: Event, reason: str) -> Steps[bool]:
        """Move the event to the dead letters of the group; return False if another member has it by now."""
        is_buried = yield from self._bury(event, REJECTED, reason)
        if not is_buried:
            yield from self.reading.gone([event.stream_id])
        return is_buried

    def release(self, event: Event) -> Steps[None]:
        """Hand the event back, with its count of deliveries; nothing if another member has it by now."""
        own = yield from self._own(event)
        for least_idle, entries in own:
            claim = command(b"XCLAIM", *self._at, RETURNED, least_idle, *entries, b"IDLE", LONG_IDLE_MS, b"JUSTID")
            yield from self._insist("handing back", claim)
        if not own:
            yield from self.reading.gone([event.stream_id])
        self.reading.held.pop(event.stream_id, None)

    def failed(self, event: Event, error: Exception) -> Steps[Event | None]:
        """Return the event again after a pause, to be handled once more.

        None if it became a dead letter, or if another member has it, or if the consumer stops.
        """
        text = f"{type(error).__name__}: {error}"
        most = self._options.max_deliveries
        if most and event.deliveries >= most:
            yield from self._bury(event, MAX_DELIVERIES, text)
            return None
        pause = min(_FIRST_RETRY * 2 ** (event.deliveries - 1), _LAST_RETRY)
        _log.warning("%r failed, and is handled again in %.1f s", event, pause, exc_info=error)
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0 and not self.is_stopping:
            yield Pause(min(left, _STOP_POLL_INTERVAL))
        if self.is_stopping:
            return None
        again: list[Event] = []
        for least_idle, entries in (yield from self._own(event)):
            (reply,) = yield from self._insist("claiming an event again", self.reading.claim_of(least_idle, *entries))
            again = self._claimed(reply, event.stream_id, event.deliveries + 1)
        if not again:
            self.reading.held.pop(event.stream_id, None)
            yield from self.reading.gone([event.stream_id])
            return None
        self.reading.held[event.stream_id] = again[0]
        return again[0]

    def beat(self) -> Steps[None]:
        """Renew the claims on all events of this member."""
        if self.reading.held or self.reading.buffer:
            yield from self.reading.renew()

    def look_after(self) -> Steps[None]:
        """Do what must not wait until a slow handler is done: acknowledge, and renew claims in time."""
        reading, now = self.reading, time.monotonic()
        if now - reading.acked_at > ACK_EVERY and (entries := drained(reading.done)):
            replies = yield from self.group.caller.attempt("acknowledging", command(b"XACK", *self._at, *entries))
            if replies is None or isinstance(replies[0], Exception):  # the next read tries again
                reading.done.extendleft(reversed(entries))
            else:
                for entry in entries:
                    reading.held.pop(entry, None)
        if now - self._beat_at >= reading.beat_every:
            self._beat_at = now
            yield from self.beat()

    def hand_back_waiting(self) -> Steps[None]:
        """Hand back all but the events that were given out, once: a handler is still at work."""
        self._has_handed_back = True
        yield from self.hand_back({entry for entry, event in list(self.reading.held.items()) if event.began})

    @property
    def must_hand_back(self) -> bool:
        """True if the consumer stops, and what waits for it was not handed back."""
        return self.is_stopping and not self._has_handed_back

    def hand_back(self, keep: Collection[str] = ()) -> Steps[None]:
        """Hand back the events that are pending for this member, except `keep`; the next member gets them at once.

        It raises an error of Redis, and waits for nothing.
        """
        held, start = self.reading.held, b"-"
        while True:
            (reply,) = yield from _once(command(b"XPENDING", *self._at, start, b"+", _PAGE, self._options.member))
            if not (rows := pending_of(reply)):
                return
            start = f"({rows[-1].entry}".encode()
            by_count: dict[int, list[Pending]] = {}
            for row in rows:
                if row.entry not in keep:
                    has_begun = row.entry in held and held[row.entry].began
                    count = row.deliveries if has_begun else max(row.deliveries - 1, 0)
                    by_count.setdefault(count, []).append(row)
            yield from self._return(by_count)

    def leave(self, failed: Iterable[Event] = (), error: Exception | None = None) -> Steps[None]:
        """Acknowledge finished events, hand back the rest, leave the group; `error` is that of `failed` events."""
        self.stop()
        yield from self._flush_once()
        most = self._options.max_deliveries
        for event in failed:
            if error is not None and most and event.deliveries >= most:
                yield from self._bury(event, MAX_DELIVERIES, f"{type(error).__name__}: {error}")
        yield from self.hand_back()
        unhandled = {*self.reading.held, *(event.stream_id for event in self.reading.buffer)}
        yield from self.reading.gone(sorted(self.reading.orphans & unhandled, key=order_of))
        yield from self._flush_once()  # those that were trimmed
        self.group.note_place()
        replies = yield from _once(*self.group.look())
        yield from _once(*self.group.see(*replies))
        yield DeleteUnless(*self._at, self._options.member)

    def _prepare(self) -> Steps[None]:
        yield from self.reading.flush()
        if self.reading.must_renew:
            yield from self.reading.renew()

    def _return(self, by_count: dict[int, list[Pending]]) -> Steps[None]:
        idle, claim_ms = (b"IDLE", LONG_IDLE_MS), self.reading.claims.claim_ms
        groups = [(count, *group) for count, rows in by_count.items() for group in claimed_together(rows, claim_ms)]
        claims = [
            command(b"XCLAIM", *self._at, RETURNED, least_idle, *entries, *idle, b"RETRYCOUNT", count, b"JUSTID")
            for count, least_idle, entries in groups
        ]
        replies = yield from _once(*claims)
        for (_, _, entries), reply in zip(groups, replies):
            if missing := set(entries).difference(ids_of(reply)):
                yield from self.reading.gone(sorted(missing, key=order_of))

    def _flush_once(self) -> Steps[None]:
        done = self.reading.done
        while done:
            entries = [done.popleft() for _ in range(min(len(done), _PAGE))]
            yield from _once(command(b"XACK", *self._at, *entries))
            for entry in entries:
                self.reading.held.pop(entry, None)

    def _own(self, event: Event) -> Steps[list[tuple[int, list[str]]]]:
        """Return the event as `claimed_together` does, if it is still pending for this member."""
        span = (event.stream_id, event.stream_id, 1, self._options.member)
        (reply,) = yield from self._insist("looking at an event", command(b"XPENDING", *self._at, *span))
        return claimed_together(pending_of(reply), self.reading.claims.claim_ms)

    def _bury_due(self) -> Steps[bool]:
        """Bury events that were delivered too often; return True if there were some."""
        due = self.reading.due_to_bury()
        for row in due:
            yield from self._bury_pending(row)
        return bool(due)

    def _bury_pending(self, row: Pending) -> Steps[None]:
        """Claim an event that was delivered too often, and move it to the dead letters."""
        claim = (self._options.member, self.reading.claims.least_idle(row), row.entry, b"RETRYCOUNT", row.deliveries)
        (reply,) = yield from self._insist("claiming an event", command(b"XCLAIM", *self._at, *claim))
        events = self._claimed(reply, row.entry, row.deliveries)
        for event in events:
            yield from self._bury(event, MAX_DELIVERIES, "")
        if not events:
            yield from self.reading.gone([row.entry])

    def _claimed(self, reply: Any, entry: str, deliveries: int) -> list[Event]:
        return [] if isinstance(reply, Exception) else claimed_events(reply, {entry: deliveries}, self.group.shard)

    def _bury(self, event: Event, reason: str, error: str) -> Steps[bool]:
        """Move an event that this member has to the dead letters; return False if it no longer has it."""
        dead = self.group.keys.dead
        fields: list[Any] = [part for pair in event.fields.items() for part in pair]
        fields += ("dead_reason", reason, "dead_error", error[:MAX_ERROR].encode(errors="replace"))
        fields += ("dead_entry", event.stream_id, "dead_deliveries", event.deliveries)
        fields += ("dead_member", self._options.member)
        while (yield from self._own(event)):
            yield from self._insist("looking at dead letters", command(b"XLEN", dead))  # the right type, before XACK
            bounded = (b"MAXLEN", b"~", MAX_DEAD_LETTERS, b"*", *fields, "dead_at", round(time.time() * 1000))
            both: list[Command] = [command(b"XADD", dead, *bounded), command(b"XACK", *self._at, event.stream_id)]
            if (yield from self.group.caller.attempt("writing a dead letter", *both, atomic=True)) is None:
                continue  # it may be there: then the event is no longer pending
            self.dead += 1
            self.reading.held.pop(event.stream_id, None)
            _log.warning("%r is a dead letter now, in %s (%s) %s", event, dead, reason, error[:MAX_ERROR])
            return True
        self.reading.held.pop(event.stream_id, None)
        return False


def _once(*commands: Command) -> Steps[list[Any]]:
    """Return the replies; raise the first error that is not the refusal of an optional command."""
    replies: list[Any] = (yield Commands(commands)) if commands else []
    for sent, reply in zip(commands, replies):
        if isinstance(reply, Exception) and not sent.may_be_refused:
            raise reply
    return replies
