"""The stored form of an attempt: one POST, the event that it delivered, and its outcome.

Each lane has two streams of them, under the same ids. `attempts` holds the short part of every attempt; `answers` holds
the response body or error of each failed one, up to 4 KiB each and fewer of them, so that a failing subscriber does not
push the others out of memory. An attempt whose verdict did not count is marked `moot`.

Most attempts succeed, there are many, and each is written while the next one waits, so a success takes few bytes and is
packed by C:

    version     1 byte; a reader that does not know it skips the record
    head        times, entry id, number, status, flags, lengths of the three texts that follow
    texts       topic, event type, line
    identifiers event id, chat, message, trace as UUIDs, which they nearly always are
    rest        JSON: outcome, due time, dead-letter reason of a failure, then identifiers that are not UUIDs
"""

from __future__ import annotations

import re
from functools import lru_cache
from struct import Struct
from struct import error as StructError  # noqa: N812  an exception class
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self
from uuid import UUID

from pydantic_core import from_json, to_json

from relay.core.delivery.outcome import Outcome
from relay.linq.payloads.translation.translate import UNTRANSLATED
from relay.store.topics.samples import TEST_PREFIX
from relay.store.topics.stream_search import Condition, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

TRANSLATED: Final = "translated"
ShapeWord = Literal["translated", "untranslated"]

_VERSION = 1
_ATTEMPT_SIZE = 150  # bytes of Redis's memory that a success takes, about
_ANSWER_SIZE = 4500  # bytes of Redis's memory that a response of 4 KiB takes, about
_SHORT_ANSWER_SIZE = 700  # bytes of Redis's memory that a response that is kept for a comparison takes, at most
_MAX_DETAIL = 4096  # bytes
_MAX_NAME = 256  # characters of an identifier
_MAX_TEXT = 255  # bytes
_MAX_PACKED = 1024  # packed texts that are kept
_MAX_UINT32, _MAX_UINT16 = 2**32 - 1, 2**16 - 1

_HEAD = Struct("<BQQIIHHBBBB")
"""Version, start time, entry id in two halves, duration, attempt number, status, flags, lengths of the three texts."""
# Plain integers: the operators of an IntFlag take longer than the packing.
_PROBE, _REPLAY, _PLAIN, _CHAT, _MESSAGE, _TRACE, _TRANSLATED, _UNTRANSLATED = (1 << bit for bit in range(8))
_SHAPES: dict[int, ShapeWord] = {_TRANSLATED: TRANSLATED, _UNTRANSLATED: UNTRANSLATED}
_SHAPE_FLAGS: dict[ShapeWord | None, int] = {None: 0, TRANSLATED: _TRANSLATED, UNTRANSLATED: _UNTRANSLATED}
_DELIVERED = Outcome.DELIVERED
_SUCCESS = b'["%s", null, null]' % Outcome.DELIVERED.encode()
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_are_regular = re.compile(f"{_UUID}\n(?:{_UUID})?\n(?:{_UUID})?\n(?:[0-9a-f]{{32}})?").fullmatch


class AttemptLimits(NamedTuple):
    """The maximum number of attempts and of responses that a lane keeps."""

    attempts: int
    answers: int

    @classmethod
    def from_size(cls, size: int, *, keeps_answers: bool = False) -> Self:
        """Return the limits for `size` bytes of Redis's memory: one half for attempts, one for responses.

        With `keeps_answers` there is one for each attempt, and each is short.
        """
        return cls(size // 2 // _ATTEMPT_SIZE, size // 2 // (_SHORT_ANSWER_SIZE if keeps_answers else _ANSWER_SIZE))


class UnreadableAttempt(ValueError):
    """A record of an unknown version, or a damaged one."""


class AttemptRecord(NamedTuple):
    """An attempt: its delivery, its number and its outcome."""

    topic: str
    entry: str
    """The delivery's entry id in its topic's stream, or in the lane's replay stream."""
    event_id: str
    type: str
    line: str | None
    chat: str | None
    message: str | None
    trace: str | None
    number: int
    """1, 2, ...: the value of `Relay-Attempt`."""
    is_probe: bool
    """True if the breaker was open."""
    is_replay: bool
    """True if the delivery was a replay."""
    at_ms: int
    """Start, Unix milliseconds."""
    took_ms: int
    outcome: Outcome
    status: int | None
    """The HTTP status; None without a response."""
    due_ms: int | None = None
    """Due time of the next attempt, Unix milliseconds; None after the last one."""
    dead: str | None = None
    """Reason why the delivery was dead-lettered; None if it was not."""
    shape: ShapeWord | None = None
    """`TRANSLATED` if the relay translated the body, `UNTRANSLATED` if it could not; None if it had nothing to do."""

    @property
    def is_test(self) -> bool:
        """True if the event is a sample, which its lane delivers as a replay."""
        return self.is_replay and self.event_id.startswith(TEST_PREFIX)

    @property
    def marks(self) -> list[str]:
        """The words for what is special about it."""
        kind = "test" if self.is_test else "replay" if self.is_replay else ""
        return [word for word in ("probe" if self.is_probe else "", kind, self.shape or "") if word]

    def encode(self) -> bytes:
        """Return the record as `attempts` stores it."""
        # The fields by position: asking this tuple for each by its name took as long as all the rest.
        topic, entry, event_id, event_type, line, chat, message, trace, number, is_probe, is_replay = self[:11]
        at_ms, took_ms, outcome, status, due_ms, dead, shape = self[11:]
        flags, identifiers = _pack_identifiers(event_id, chat or "", message or "", trace or "")
        if flags == _PLAIN:
            names = [name[:_MAX_NAME] for name in (event_id, chat or "", message or "", trace or "")]
            rest = to_json([outcome.value, due_ms, dead, *names])  # a member of an enumeration takes 1 us more
        else:
            rest = b"" if outcome is _DELIVERED else to_json([outcome.value, due_ms, dead])
        if is_probe:
            flags |= _PROBE
        if is_replay:
            flags |= _REPLAY
        texts, lengths = _pack_texts(topic, event_type, line or "")
        milliseconds, _, sequence = entry.partition("-")
        head = _HEAD.pack(
            _VERSION,
            at_ms,
            int(milliseconds),
            int(sequence) & _MAX_UINT32,  # Redis starts at 0 in each millisecond; only ids written by hand are larger
            min(max(took_ms, 0), _MAX_UINT32),
            min(number, _MAX_UINT16),
            status or 0,
            flags | _SHAPE_FLAGS[shape],
            *lengths,
        )
        return b"".join((head, texts, identifiers, rest))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the attempt that `encode` wrote.

        Raises:
            UnreadableAttempt: the version is unknown, or the record is damaged.
        """
        if data[:1] != bytes([_VERSION]):
            raise UnreadableAttempt(f"version {data[0]} of an attempt is unknown" if data else "the attempt is empty")
        try:
            return cls._decode(data)
        except (StructError, TypeError, ValueError) as error:
            raise UnreadableAttempt(f"the attempt is damaged: {error}") from None

    @classmethod
    def _decode(cls, data: bytes) -> Self:
        _, at_ms, milliseconds, sequence, took_ms, number, status, flags, *lengths = _HEAD.unpack_from(data)
        reader = _Reader(data, _HEAD.size)
        topic, event_type, line = (reader.text(length) for length in lengths)
        packed = () if flags & _PLAIN else _unpack_identifiers(reader, flags)
        outcome, due_ms, dead, *plain = from_json(reader.rest() or _SUCCESS)
        event_id, chat, message, trace = packed or plain
        return cls(
            topic=topic,
            entry=f"{milliseconds}-{sequence}",
            event_id=event_id,
            type=event_type,
            line=line or None,
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
            shape=_SHAPES.get(flags & (_TRANSLATED | _UNTRANSLATED)),
        )


@lru_cache(_MAX_PACKED)
def _pack_texts(*texts: str) -> tuple[bytes, Sequence[int]]:
    """Return the bytes of the three texts, and the length of each: the same for most attempts of a lane."""
    packed = [text.encode()[:_MAX_TEXT] for text in texts]
    return b"".join(packed), tuple(map(len, packed))


def _pack_identifiers(event_id: str, chat: str, message: str, trace: str) -> tuple[int, bytes]:
    """Return the flags and the bytes of the identifiers; without bytes if one of them is no UUID."""
    lines = f"{event_id}\n{chat}\n{message}\n{trace}"
    if not _are_regular(lines):
        return _PLAIN, b""
    flags = _CHAT * bool(chat) | _MESSAGE * bool(message) | _TRACE * bool(trace)
    return flags, bytes.fromhex(lines.replace("-", ""))  # it skips the line ends


class _Reader:
    """A cursor over the bytes of a record."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def take(self, length: int) -> bytes:
        start, self._position = self._position, self._position + length
        if self._position > len(self._data):
            raise UnreadableAttempt("it ends too early")
        return self._data[start : self._position]

    def text(self, length: int) -> str:
        return self.take(length).decode(errors="ignore")  # its last character may be cut

    def rest(self) -> bytes:
        return self._data[self._position :]


def _unpack_identifiers(reader: _Reader, flags: int) -> tuple[str, str, str, str]:
    """Return event id, chat, message and trace, in the order of their bytes."""
    return (
        _uuid(reader),
        _uuid(reader) if flags & _CHAT else "",
        _uuid(reader) if flags & _MESSAGE else "",
        reader.take(16).hex() if flags & _TRACE else "",
    )


def _uuid(reader: _Reader) -> str:
    return str(UUID(bytes=reader.take(16)))


def condition_on(event_id: str) -> Condition:
    """Return the condition by which a search of `attempts` finds an event: its id, packed or as text.

    What it finds must be decoded and compared: an id can be a part of another.
    """
    text = to_json(event_id[:_MAX_NAME])[1:-1]
    if not re.fullmatch(_UUID, event_id):
        return Condition("a", Kind.HAS, text)
    return Condition("a", Kind.EITHER, UUID(event_id).bytes + text)


def is_of(attempt: AttemptRecord, event_id: str) -> bool:
    """Return True if an attempt was one of this event."""
    return attempt.event_id == event_id[:_MAX_NAME]


def shape_word(mark: str | None) -> ShapeWord | None:
    """Return the `shape` of an attempt that had this `Relay-Shape`."""
    if mark is None:
        return None
    return UNTRANSLATED if mark == UNTRANSLATED else TRANSLATED


def encode_detail(detail: str) -> bytes:
    """Return the error or response body of a failure as `answers` stores it."""
    return detail.encode(errors="replace")[:_MAX_DETAIL]
