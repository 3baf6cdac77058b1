"""A member of a group on every shard of the relay, as one.

A topic is one stream on each shard, and a group is one on each of them. With one shard its `Member` reads inside the
call that asks for the next event. With several, each shard has a pump, a task or a thread, that reads ahead when it is
asked to, and rests otherwise. So a shard that cannot be reached keeps its own pump waiting, and nothing else:

    next event? ──none is ahead──▶ ask every pump that rests ──▶ each looks once, waits at Redis half a second at most
        ▲                                                                             │
        └──────────────── the shards in turn, one event of each ◀─────────────────────┘

What a shard has read belongs either to its pump (`Part.ask` is set) or to the calls that give events out. All that is
read ahead stays below `prefetch`: each shard has a part of it, and with fewer than one for each they take turns.

An event that was begun before is claimed alone, as with one shard: no pump reads then, nothing else is ahead, and what
was handled is acknowledged on every shard. Between two of them the other shards are asked for what they have, without
waiting.

The number of shards is at home, on the first one: it is read at the start, and again with each look for events of
silent members. Groups on new shards begin with the oldest event: all that is there came after the group was made.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..names import MAX_PREFETCH
from .member import Member
from .part import Part
from .prefetch import Ask
from .reading import LOOK_EVERY, SUSPECT
from .steps import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..event import Event
    from ..options import Options
    from .part import Tools
    from .reading import Reading
    from .steps import Steps

_POLL = 0.25  # seconds between two looks at whether the consumer stops: that sets no signal
_PUMP_TIMEOUT = 1.0
"""Seconds beyond its wait at Redis after which a pump is no longer waited for: its shard may be away."""
JOIN_WAIT = 3.0
"""Seconds that a start waits for the groups on the shards beside the first."""


class WholeMember:
    """A member of a group, on one shard or on several."""

    def __init__(self, options: Options, block: float) -> None:
        """`block` is the longest time, in seconds, that a read may wait at Redis."""
        self.home = Member(options, block)
        self.parts: list[Part] = []
        self.readings: list[Reading] = [self.home.reading]
        """By shard."""
        self.take: Callable[[], Event | None] = self.home.reading.take
        """Returns the next event of those that were read ahead; None if there is none, or work to do first."""
        self._options, self._block = options, block
        self._tools: Any = None
        self._arrived: Any = None
        self._is_idle = True
        self._is_turn_of_begun = self._must_acknowledge = True
        self._next = self._asked = 0  # shards: the next one that gives an event, the next one that is asked first
        self._vain = 0  # times that a pump was asked since the last event
        self._error: Exception | None = None

    def use(self, tools: Tools) -> None:
        """Take the driver's tools, before anything else."""
        self._tools, self._arrived = tools, tools.signal()
        self.parts.append(Part(self.home, tools))

    @property
    def is_stopping(self) -> bool:
        """True once the consumer is to stop."""
        return self.home.is_stopping

    @property
    def is_sharded(self) -> bool:
        """True if there are several shards, each with a pump."""
        return len(self.parts) > 1

    @property
    def is_idle(self) -> bool:
        """False while a handler is at work, so that events which must be handled alone wait."""
        return self._is_idle

    @is_idle.setter
    def is_idle(self, value: bool) -> None:
        self._is_idle = self.home.reading.is_idle = value

    @property
    def must_hand_back(self) -> bool:
        """True if the only shard's waiting events are to be handed back; with several the end of each pump does it."""
        return not self.is_sharded and self.home.must_hand_back

    @property
    def dead(self) -> int:
        """Events that became dead letters here."""
        return self.home.dead + sum(part.member.dead for part in self.parts[1:])

    def part_of(self, event: Event) -> Part:
        """Return the shard of an event."""
        return self.parts[event.shard]

    def stop(self) -> None:
        """Give out no more events."""
        for member in (self.home, *(part.member for part in self.parts[1:])):
            member.stop()

    def settle(self, event: Event) -> None:
        """Have the event acknowledged, together with the next commands."""
        self.parts[event.shard].member.settle(event)

    def failed(self, event: Event, error: Exception) -> Steps[Event | None]:
        """Return the event again after a pause; see `Member.failed`."""
        return self.parts[event.shard].member.failed(event, error)

    def join(self) -> Steps[None]:
        """Join the group on every shard.

        Raises:
            UnknownTopic: the relay has no such topic, even after a while.
            ConsumerError: Redis refuses the credentials or a command.
        """
        group = self.home.group
        yield from group.find_topic()
        yield from group.count_shards()
        if group.has_grown:
            yield from self._grow()
        yield from group.make()  # last: a group that is there has its beginning on all shards

    def advance(self) -> Steps[Event | None]:
        """Return the next event; None if the consumer stops, or if the next one must wait until this member is idle."""
        while not self.is_stopping:
            if not self.is_sharded:
                event = yield from self.home.advance()
                if event is not None or not self.home.group.has_grown:
                    return event
            yield from self._begin_look()
            if (event := self.take()) is not None:
                return event
            if self._must_be_idle():
                return None
            self._ask(min(self._options.prefetch, MAX_PREFETCH), self._block)
            yield Wait(self._arrived, _POLL)
        return None

    def gather(self, size: int, wait: float) -> Steps[list[Event]]:
        """Return up to `size` events, `wait` seconds after the first one at the latest; none if the consumer stops."""
        batch: list[Event] = []
        until = 0.0
        while not self.is_stopping:
            if not self.is_sharded:
                batch = yield from self.home.gather(size, wait)
                if batch or not self.home.group.has_grown:
                    return batch
            yield from self._begin_look()
            while len(batch) < size and (event := self.take()) is not None:
                batch.append(event)
            now = time.monotonic()
            until = until or (now + wait if batch else 0.0)
            if batch and (len(batch) == size or now >= until or batch[-1].deliveries > 1 or self._has_begun()):
                break
            left = until - now if batch else _POLL
            self._ask(size, min(left, self._block) if batch else self._block, is_adaptive=False)
            yield Wait(self._arrived, min(left, _POLL))
        return batch

    def hand_back_waiting(self) -> Steps[None]:
        """Hand back all but the events that were given out, if no pump does so."""
        if not self.is_sharded:
            yield from self.home.hand_back_waiting()

    def pump(self, part: Part) -> Steps[None]:
        """Read ahead of a shard whenever that is asked for, until the consumer stops."""
        try:
            if not part.has_joined:
                yield from part.member.group.make()
                part.has_joined = True
                self._arrived.set()
            while not self.is_stopping:
                part.asked.clear()
                if part.ask is None:
                    yield Wait(part.asked, _POLL)
                    continue
                yield from part.member.read_ahead(part.ask)
                part.ask = None
                self._arrived.set()
        except Exception as error:  # noqa: BLE001  the next call for an event raises it
            self._error = self._error or error
        finally:
            self._arrived.set()

    def _begin_look(self) -> Steps[None]:
        """Begin to look for an event that has arrived.

        Raises:
            ConsumerError: Redis refuses a command on one of the shards.
        """
        if self.home.group.has_grown:
            yield from self._grow()
        self._arrived.clear()
        self._raise_error()

    def _grow(self) -> Steps[None]:
        """Begin to read shards that were not read before, and wait a while for their groups."""
        group = self.home.group
        is_new = not (yield from group.exists())
        group.has_grown = False
        for shard in range(len(self.parts), group.shards):
            member = Member(self._options, self._block, shard)
            if not is_new:
                member.group.start = "0"
            self.parts.append(Part(member, self._tools))
            self.readings.append(member.reading)
        self.take = self._take
        for part in self.parts:
            part.reading.prefetch.share(len(self.parts))
            if not part.has_pump:
                part.has_pump = True
                self._tools.start(part)
        if self.is_stopping:
            self.stop()
        until = time.monotonic() + JOIN_WAIT
        while not self.is_stopping and (left := until - time.monotonic()) > 0:
            self._arrived.clear()
            self._raise_error()
            if all(part.has_joined for part in self.parts):
                break
            yield Wait(self._arrived, min(left, _POLL))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _take(self) -> Event | None:
        """Return the next event that is ahead, of the shards in turn."""
        parts = self.parts
        count = len(parts)
        for step in range(count):
            number = (self._next + step) % count
            if parts[number].ask is None and (event := parts[number].reading.take()) is not None:
                self._next, self._vain = (number + 1) % count, 0
                return event
        return None

    def _has_begun(self) -> bool:
        """Return True if an event waits to be claimed alone."""
        return any(part.ask is None and part.reading.claims.begun for part in self.parts)

    def _must_be_idle(self) -> bool:
        """Return True if the next event must be handled with no other at the same time."""
        return not self._is_idle and any(
            part.ask is None and part.reading.claims.begun >= SUSPECT for part in self.parts
        )

    def _ask(self, limit: int, block: float, *, is_adaptive: bool = True) -> None:
        """Ask pumps that rest for events: no more than `limit` ahead, waiting up to `block` seconds at Redis."""
        now, count = time.monotonic(), len(self.parts)
        in_turn = [self.parts[(self._asked + step) % count] for step in range(count)]
        asks = [(part, part.ask) for part in in_turn]
        at_work = [ask for part, ask in asks if ask is not None and now < part.until]
        resting = [part for part, ask in asks if ask is None]
        begun = [part for part in resting if part.reading.claims.begun]
        if any(ask.is_alone for ask in at_work) or (begun and self._is_turn_of_begun and at_work):
            return
        self._asked = (self._asked + 1) % count
        if begun and self._is_turn_of_begun:
            done = [part for part in resting if part.reading.done]
            if done and self._must_acknowledge:
                self._must_acknowledge = False
                for part in done:
                    self._give(part, Ask(0, 0.0), now)
                return
            self._is_turn_of_begun, self._must_acknowledge = False, True
            self._give(begun[0], Ask(1, 0.0, is_alone=True), now)
            return
        block = min(block, LOOK_EVERY)
        if begun:
            block, self._is_turn_of_begun = 0.0, True
        elif limit < count:  # they take turns: first all of them without waiting
            block = block * limit / count if self._vain >= count else 0.0
        left = limit - sum(ask.most for ask in at_work) - sum(len(part.reading.buffer) for part in resting)
        for part in resting:
            if part in begun:
                continue
            most = min(max(limit // count, 1), left)
            if most < 1:
                break
            left -= most
            self._give(part, Ask(most, block, is_adaptive=is_adaptive), now)

    def _give(self, part: Part, ask: Ask, now: float) -> None:
        self._vain += 1
        part.until = now + ask.block + _PUMP_TIMEOUT
        part.ask = ask
        part.asked.set()
