"""An attempt as it is remembered: a POST of the past, whose event it was, and what came of it.

Each lane has two streams of them, under the same ids. `attempts` holds what is short; `answers` the words of those that
failed, up to 4 KiB each and fewer of them, so that a subscriber that fails does not push the others out of memory. One
whose verdict did not count is marked `moot`.

Most attempts succeed, there are many, and each is written while the next one waits, so a success takes few bytes and is
packed by C: numbers, three short texts, and the identifiers as the UUIDs that they nearly always are. What is not so
regular follows as JSON.
"""

from __future__ import annotations

import re
from itertools import accumulate, pairwise
from struct import Struct
from typing import Any, NamedTuple, Self
from uuid import UUID

from pydantic_core import from_json, to_json

from relay.core.delivery.outcome import Outcome

_ATTEMPT_SIZE = 150  # bytes of Redis's memory that a success takes, about
_ANSWER_SIZE = 4500  # one of 4 KiB
_MAX_DETAIL = 4096  # bytes
_MAX_NAME = 256  # characters of an identifier
_MAX_TEXT = 255  # bytes
_LARGEST, _MAX_TRIES = 2**32 - 1, 2**16 - 1

_HEAD = Struct("<QQIIHHBBBB")
"""When it began, the entry's id in two halves, how long it took, number, status, flags, lengths of the three texts."""
_PROBE, _REPLAY, _PLAIN, _CHAT, _MESSAGE, _TRACE = (1 << bit for bit in range(6))
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_are_regular = re.compile(f"{_UUID}\n(?:{_UUID})?\n(?:{_UUID})?\n(?:[0-9a-f]{{32}})?").fullmatch


class AttemptLimits(NamedTuple):
    """How many attempts and answers a lane remembers at most."""

    attempts: int
    answers: int

    @classmethod
    def from_size(cls, size: int) -> Self:
        """What `size` bytes of Redis's memory hold: one half for the attempts, one for the answers."""
        return cls(size // 2 // _ATTEMPT_SIZE, size // 2 // _ANSWER_SIZE)


class AttemptRecord(NamedTuple):
    """One attempt."""

    topic: str
    entry: str
    """The delivery's place in its topic's stream, or in the lane's replay stream."""
    event_id: str
    type: str
    line: str | None
    chat: str | None
    message: str | None
    trace: str | None
    number: int
    """1, 2, ...: what the subscriber read in `Relay-Attempt`."""
    is_probe: bool
    """Whether the breaker was open."""
    is_replay: bool
    """Whether somebody had sent it back from the dead letters."""
    at_ms: int
    """When it began, Unix milliseconds."""
    took_ms: int
    outcome: Outcome
    status: int | None
    """The HTTP status, if an answer came."""
    due_ms: int | None = None
    """When the next attempt was due; None if that was the last one."""
    dead: str | None = None
    """Why the delivery became a dead letter; None if it did not."""

    def encode(self) -> bytes:
        """As `attempts` holds it."""
        flags = (_PROBE if self.is_probe else 0) | (_REPLAY if self.is_replay else 0)
        names = (self.event_id, self.chat or "", self.message or "", self.trace or "")
        lines = "\n".join(names)
        if _are_regular(lines):
            packed = bytes.fromhex(lines.replace("-", ""))  # it skips the ends of lines
            flags |= (_CHAT if names[1] else 0) | (_MESSAGE if names[2] else 0) | (_TRACE if names[3] else 0)
            rest: list[object] = [] if self.outcome is Outcome.DELIVERED else [self.outcome, self.due_ms, self.dead]
        else:
            packed = b""
            flags |= _PLAIN
            rest = [self.outcome, self.due_ms, self.dead, *(name[:_MAX_NAME] for name in names)]
        texts = [text.encode()[:_MAX_TEXT] for text in (self.topic, self.type, self.line or "")]
        milliseconds, _, sequence = self.entry.partition("-")
        head = _HEAD.pack(
            self.at_ms,
            int(milliseconds),
            int(sequence) & _LARGEST,  # Redis counts anew in each millisecond; only a person writes more
            min(max(self.took_ms, 0), _LARGEST),
            min(self.number, _MAX_TRIES),
            self.status or 0,
            flags,
            *map(len, texts),
        )
        return b"".join((head, *texts, packed, to_json(rest) if rest else b""))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The attempt that `encode` wrote."""
        at_ms, milliseconds, sequence, took_ms, number, status, flags, *lengths = _HEAD.unpack_from(data)
        if not flags & _PLAIN:
            lengths += [16, *(16 if flags & name else 0 for name in (_CHAT, _MESSAGE, _TRACE))]
        ends = list(accumulate(lengths, initial=_HEAD.size))
        topic, event_type, line, *packed = (data[start:end] for start, end in pairwise(ends))
        rest: list[Any] = from_json(data[ends[-1] :] or b"[]")
        outcome, due_ms, dead, *plain = rest or [Outcome.DELIVERED, None, None]
        event_id, chat, message, trace = plain or (*map(_uuid, packed[:3]), packed[3].hex())
        return cls(
            topic=topic.decode(),
            entry=f"{milliseconds}-{sequence}",
            event_id=event_id,
            type=event_type.decode(errors="ignore"),
            line=line.decode(errors="ignore") or None,
            chat=chat or None,
            message=message or None,
            trace=trace or None,
            number=number,
            is_probe=bool(flags & _PROBE),
            is_replay=bool(flags & _REPLAY),
            at_ms=at_ms,
            took_ms=took_ms,
            outcome=Outcome(outcome),
            status=status or None,
            due_ms=due_ms,
            dead=dead,
        )


def _uuid(data: bytes) -> str:
    return str(UUID(bytes=data)) if data else ""


def answer_of(detail: str) -> bytes:
    """The words of a failure as `answers` holds them."""
    return detail.encode(errors="replace")[:_MAX_DETAIL]
