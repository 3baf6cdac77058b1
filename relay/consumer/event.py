"""An event of a topic, decoded as far as it is looked at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FLAG = {b"1": True, b"0": False}
_MAX_DIGITS = 4300  # Python's own limit for turning text into an int


class Event:
    """An entry of a topic's stream."""

    __slots__ = ("_raw", "began", "deliveries", "shard", "stream_id")

    def __init__(
        self, stream_id: str, raw: Sequence[bytes] | Mapping[bytes, bytes], deliveries: int = 1, shard: int = 0
    ) -> None:
        """`raw` has the fields as Redis sends them: names and values in turn."""
        self.stream_id = stream_id
        """The entry's id in the stream of its shard."""
        self.shard = shard
        """The number of the shard; 0 is the first, or the only one."""
        self.deliveries = deliveries
        """The number of times that it was delivered to this group, this one included."""
        self.began = False
        """True once it was given to a handler."""
        self._raw = raw

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """All fields as they are in Redis."""
        raw: Any = self._raw
        if not isinstance(raw, dict):
            if raw and isinstance(raw[0], str):  # redis-py 5.0.0 with hiredis decodes in spite of being told not to
                raw = [part.encode() for part in raw]
            raw = self._raw = dict(zip(raw[::2], raw[1::2]))
        return raw  # type: ignore[no-any-return]

    @property
    def entry(self) -> str:
        """The entry's id in the topic; grows in the order of acceptance. On a shard beside the first, `ID.SHARD`."""
        return f"{self.stream_id}.{self.shard}" if self.shard else self.stream_id

    def _text(self, name: bytes) -> str | None:
        value = self.fields.get(name)
        return value.decode(errors="replace") if value else None

    @property
    def id(self) -> str:
        """Linq's id of the event: handle each once."""
        return self._text(b"id") or ""

    @property
    def type(self) -> str:
        """Type, such as `message.received`."""
        return self._text(b"type") or ""

    @property
    def line(self) -> str | None:
        """Our number, proved; None if the event has none."""
        return self._text(b"line")

    @property
    def chat(self) -> str | None:
        """Chat id."""
        return self._text(b"chat")

    @property
    def at(self) -> int:
        """Time of acceptance, Unix milliseconds."""
        return int(self.fields.get(b"at") or 0)

    @property
    def version(self) -> str:
        """Payload shape: 2026-02-03, 2025-01-01 or v2."""
        return self._text(b"version") or ""

    @property
    def body(self) -> bytes:
        """The body as Linq signed it, byte for byte."""
        return self.fields.get(b"body", b"")

    @property
    def webhook_id(self) -> str:
        """The id of Linq's webhook; mostly that of the event."""
        return self._text(b"webhook_id") or self.id

    @property
    def message(self) -> str | None:
        """Message id."""
        return self._text(b"message")

    @property
    def direction(self) -> str | None:
        """`inbound` or `outbound`."""
        return self._text(b"direction")

    @property
    def service(self) -> str | None:
        """`iMessage`, `RCS` or `SMS`."""
        return self._text(b"service")

    @property
    def is_group(self) -> bool | None:
        """Return whether the chat has several customers; None if the event does not tell."""
        return _FLAG.get(self.fields.get(b"group", b""))

    @property
    def created(self) -> str | None:
        """Linq's `created_at`."""
        return self._text(b"created")

    @property
    def trace(self) -> str | None:
        """Linq's trace id."""
        return self._text(b"trace")

    @property
    def freshness(self) -> str:
        """`live`, or `history` if Linq sent it long after it happened."""
        return "history" if self.fields.get(b"freshness") == b"history" else "live"

    @property
    def account(self) -> str | None:
        """Name of the account at Linq; None where only one is configured."""
        return self._text(b"account")

    @property
    def source(self) -> str | None:
        """`backfill` if the relay made the event of a message that it found at Linq; None if Linq sent it."""
        return self._text(b"source")

    def json(self) -> Any:
        """Return the parsed body.

        Raises:
            ValueError: it is not JSON.
        """
        try:
            return json.loads(self.body, parse_int=_number)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def __repr__(self) -> str:
        return f"Event(entry={self.entry!r}, id={self.id!r}, type={self.type!r}, deliveries={self.deliveries})"


def _number(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)
