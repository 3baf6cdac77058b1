"""A delivery: an event for one push subscription, with its attempts so far."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

from relay.store import keys
from relay.store.driver.streams import order_of
from relay.store.topics.record import Record, record_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ref(NamedTuple):
    """The identity of a delivery: its stream and its entry."""

    stream: str
    entry: str

    def __str__(self) -> str:
        return f"{self.stream}|{self.entry}"

    @classmethod
    def parse(cls, text: bytes) -> Ref:
        """Return the ref that `str` wrote."""
        stream, _, entry = text.decode().rpartition("|")
        return cls(stream, entry)


@dataclass(frozen=True, slots=True)
class Tries:
    """The attempts of a delivery so far."""

    count: int = 0
    first_ms: int = 0
    """Start of the first attempt, Unix milliseconds."""
    last: str = ""
    """The last outcome."""

    def encode(self) -> bytes:
        """Return the form that the `tries` hash stores."""
        return to_json([self.count, self.first_ms, self.last])

    @classmethod
    def decode(cls, text: bytes | None) -> Tries:
        """Return the tries that `encode` wrote; zero tries for None, and for a damaged record."""
        with suppress(TypeError, ValueError):
            return cls(*from_json(text)) if text else cls()
        return cls()


_UNTRIED = Tries()


class Delivery:
    """An event for a push subscription."""

    __slots__ = ("_record", "fields", "is_replay", "ref", "tries")

    def __init__(self, ref: Ref, fields: Mapping[bytes, bytes], tries: Tries = _UNTRIED) -> None:
        """`fields` are those of the stream entry; empty if it was trimmed."""
        self.ref = ref
        self.fields = fields
        self.tries = tries
        self.is_replay = ref.stream.endswith(":replay")
        """True if an operator replayed it: from the dead letters or a topic's history."""
        self._record: Record | None = None

    @property
    def record(self) -> Record:
        """The event."""
        if self._record is None:
            self._record = record_of(self.ref.entry.encode(), self.fields)
        return self._record

    @property
    def chat(self) -> str:
        """The event's chat; empty if it has none."""
        return self.fields.get(b"chat", b"").decode(errors="replace")

    @property
    def topic(self) -> str:
        """The name of its topic, also of a replay."""
        if self.is_replay:
            return self.fields.get(b"dead_topic", b"").decode()
        return keys.topic_of(self.ref.stream)

    @property
    def since_ms(self) -> int:
        """Time of acceptance, or of the replay; Unix milliseconds."""
        return int(self.ref.entry.partition("-")[0]) if self.is_replay else self.record.at

    @property
    def is_test(self) -> bool:
        """True if it is a sample event, sent to test the subscription; it is in the replay stream."""
        return b"dead_test" in self.fields

    @property
    def blocks(self) -> str:
        """The chat that is blocked until this replay of a dead letter is settled; empty if none is."""
        return self.fields.get(b"dead_blocks", b"").decode()

    @property
    def first_entry(self) -> str:
        """The entry id in the topic: a replay's own id differs."""
        return self.fields.get(b"dead_entry", b"").decode() or self.ref.entry

    @property
    def order(self) -> tuple[int, int, str]:
        """The sort key of deliveries in the order of acceptance."""
        return (*order_of(self.first_entry), self.ref.stream)
