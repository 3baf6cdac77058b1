"""Messages that arrived over v2 and over v3, compared. Pure.

Linq documents no id that a message has in both APIs: those of v2 are numbers, those of v3 UUIDs. So two copies of a
message are found by the same id, or else by type, line, direction and text, with times of sending that differ by less
than `_TOLERANCE`. Of two equal messages in that time each copy counts once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.topics.record import Record

COMPARED = ("message.received", "message.sent")
"""Event types that are compared: they exist in both APIs, and losing one of them is a loss."""

_TOLERANCE = 10.0  # seconds; v2 has whole seconds
_FORMATS = ("%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%z")


class Copy(NamedTuple):
    """A message as it arrived over one API."""

    event: str
    """The event's id."""
    type: str
    line: str | None
    message: str | None
    digest: str
    """A digest of its text, which is shown nowhere."""
    sent: float
    """Time of sending, Unix seconds; that of acceptance if the payload has none."""
    is_v2: bool

    @property
    def content(self) -> tuple[str, str | None, str]:
        """The part in which both copies agree."""
        return self.type, self.line, self.digest


@dataclass
class Comparison:
    """The result of a comparison."""

    both: int = 0
    only_v2: list[Copy] = field(default_factory=list)
    only_v3: list[Copy] = field(default_factory=list)

    def between(self, since: float, until: float) -> Comparison:
        """Return the comparison without single copies that were sent before `since` or after `until`."""
        only_v2, only_v3 = (
            [each for each in side if since <= each.sent <= until] for side in (self.only_v2, self.only_v3)
        )
        return Comparison(self.both, only_v2, only_v3)


def copy_of(record: Record) -> Copy | None:
    """Return the copy in a topic's entry; None if its type is not compared, or its body cannot be read."""
    if record.type not in COMPARED:
        return None
    try:
        body = record.json()
    except (ValueError, RecursionError):
        return None
    data = body.get("data") if isinstance(body, dict) else None
    data = data if isinstance(data, dict) else {}
    digest = hashlib.sha256(_text_of(data).encode(errors="replace")).hexdigest()
    sent = _time(data.get("sent_at")) or _time(_dict(data.get("message")).get("sent_at")) or record.at / 1000
    return Copy(record.id, record.type, record.line, record.message, digest, sent, record.version == "v2")


def compare(copies: Iterable[Copy]) -> Comparison:
    """Match the copies of v2 with those of v3; the same event in several topics counts once."""
    events = {(copy.is_v2, copy.event): copy for copy in copies}
    waiting: dict[tuple[str, str | None, str], list[Copy]] = {}
    by_message: dict[str, Copy] = {}
    result = Comparison()
    for copy in sorted((each for each in events.values() if not each.is_v2), key=lambda copy: copy.sent):
        waiting.setdefault(copy.content, []).append(copy)
        if copy.message:
            by_message[copy.message] = copy
    for copy in sorted((each for each in events.values() if each.is_v2), key=lambda copy: copy.sent):
        partner = by_message.pop(copy.message or "", None) or _nearest(waiting.get(copy.content, []), copy)
        if partner is None:
            result.only_v2.append(copy)
            continue
        waiting[partner.content].remove(partner)
        by_message.pop(partner.message or "", None)
        result.both += 1
    result.only_v3 = sorted((copy for left in waiting.values() for copy in left), key=lambda copy: copy.sent)
    return result


def _nearest(candidates: list[Copy], copy: Copy) -> Copy | None:
    near = [each for each in candidates if abs(each.sent - copy.sent) <= _TOLERANCE]
    return min(near, key=lambda each: abs(each.sent - copy.sent), default=None)


def _text_of(data: dict[str, Any]) -> str:
    """Return the text of a message: v2's field, or the text parts of either v3 version."""
    if isinstance(text := data.get("text"), str):
        return text.strip()
    parts = data.get("parts") or _dict(data.get("message")).get("parts")
    parts = parts if isinstance(parts, list) else []
    values = (_dict(part).get("value") for part in parts if _dict(part).get("type") in {"text", "link"})
    return "\n".join(value for value in values if isinstance(value, str)).strip()


def _time(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form).timestamp()  # noqa: DTZ007  both formats have the zone
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
