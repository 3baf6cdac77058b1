"""A step in the life of a message, read from the event that tells it.

v3 payloads of both versions and v2 are read; a type that is not listed is a step of its own name, so that what Linq
adds to its families is shown. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.event import Freshness
from relay.store.topics.record import record_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.services.topics.history.scan import Hit
    from relay.services.topics.history.view import Place
    from relay.store.topics.record import Record

    Json = Mapping[str, Any]

_KINDS = {
    "reaction.sent": "reaction",  # of v2
    "reaction.received": "reaction",
    "poll.reaction.added": "reaction added",
    "poll.vote.added": "vote added",
    "poll.vote.removed": "vote removed",
}
_TIMES = {
    "sent": ("sent_at",),
    "received": ("sent_at", "received_at"),
    "delivered": ("delivered_at",),
    "read": ("read_at",),
    "failed": ("failed_at",),
    "edited": ("edited_at",),
    "reply": ("sent_at",),
}
_TIMES_OF_OTHERS = ("reacted_at", "sent_at", "updated_at", "created_at")
BEGINNINGS = frozenset({"sent", "received"})
_HANDLES = ("sender_handle", "from_handle", "chat_handle", "actor_handle")


class Has(NamedTuple):
    """The state of a step's event at a push subscription or a pull group."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Step:
    """An event in the life of a message."""

    kind: str
    """`sent`, `received`, `delivered`, `read`, `failed`, `edited`, `reaction added`, `reply`, ..."""
    event: str
    """Linq's id of the event."""
    type: str
    at_ms: int
    """Time that the payload tells, else of acceptance; Unix milliseconds."""
    routed_ms: int
    by: str | None = None
    """Handle of the person or the line that did it; None if it is not known or bodies are hidden."""
    detail: str | None = None
    """The code of a failure, the kind of a reaction, the part that was edited."""
    reply: str | None = None
    """Id of the message that replies."""
    is_history: bool = False
    """True if Linq recovered it later."""
    places: tuple[Place, ...] = ()
    has: tuple[Has, ...] | None = None
    """The push subscriptions and pull groups that the principal sees; None if there was no time to look."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a message that its events tell; None if none of them does."""

    line: str | None = None
    chat: str | None = None
    direction: str | None = None
    service: str | None = None
    is_group: bool | None = None
    reply_to: str | None = None
    trace: str | None = None
    sent_ms: int | None = None
    delivered_ms: int | None = None
    read_ms: int | None = None

    def joined(self, other: Facts) -> Facts:
        """Return these facts, with those of `other` that are not known here."""
        names = self.__dataclass_fields__
        return Facts(**{name: _first(getattr(self, name), getattr(other, name)) for name in names})


@dataclass(frozen=True, slots=True)
class ReadStep:
    """A step, and what its event tells about the message."""

    step: Step
    facts: Facts = field(default_factory=Facts)


def is_about(fields: Mapping[bytes, bytes], message_id: str) -> bool:
    """Return True if an event is of a message, or of a reply to it."""
    record = record_of(b"0-0", fields)
    return record.message == message_id or _reply_to(_content(_data(record))) == message_id


def begins(fields: Mapping[bytes, bytes], message_id: str) -> bool:
    """Return True if an event is the sending or the arrival of a message."""
    record = record_of(b"0-0", fields)
    return record.message == message_id and kind_of(record.type) in BEGINNINGS


def step_of(hit: Hit, message_id: str, *, hides_bodies: bool) -> ReadStep:
    """Return the step that an event of a message, or of a reply to it, is."""
    record = record_of(b"0-0", hit.fields)
    data = _data(record)
    is_reply = record.message != message_id
    kind = "reply" if is_reply else kind_of(record.type)
    step = Step(
        kind=kind,
        event=record.id,
        type=record.type,
        at_ms=_time(kind, data) or ms_of(record.created) or record.at,
        routed_ms=hit.at_ms,
        by=None if hides_bodies else _actor(record, data),
        detail=_detail(kind, data),
        reply=record.message if is_reply else None,
        is_history=record.freshness is Freshness.HISTORY,
        places=hit.places,
    )
    return ReadStep(step, Facts(line=record.line, chat=record.chat) if is_reply else _facts(record, data))


def kind_of(event_type: str) -> str:
    """Return the kind of step that an event of this type is: for `message.*` and `poll.*` the word after the family."""
    family, _, rest = event_type.partition(".")
    known = _KINDS.get(event_type)
    if known is not None:
        return known
    return rest.replace("_", " ") if family in {"message", "poll"} else event_type.replace(".", " ").replace("_", " ")


def ms_of(text: object) -> int | None:
    """Return a time of a payload in Unix milliseconds; None if it is none that is understood."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text.replace(" -", "-").replace(" +", "+"))  # v2: 2026-09-14 09:15:02 -0600
    except ValueError:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _facts(record: Record, data: Json) -> Facts:
    content = _content(data)
    is_message = record.type.startswith(("message.", "poll."))
    return Facts(
        line=record.line,
        chat=record.chat,
        direction=record.direction if is_message else None,
        service=record.service,
        is_group=record.is_group,
        reply_to=_reply_to(content),
        trace=record.trace if is_message else None,
        sent_ms=ms_of(content.get("sent_at")) if is_message else None,
        delivered_ms=ms_of(content.get("delivered_at")) if is_message else None,
        read_ms=ms_of(content.get("read_at")) if is_message else None,
    )


def _time(kind: str, data: Json) -> int | None:
    content = _content(data)
    names = _TIMES.get(kind, _TIMES_OF_OTHERS)
    return next((ms for name in names if (ms := ms_of(data.get(name)) or ms_of(content.get(name)))), None)


def _actor(record: Record, data: Json) -> str | None:
    """Return the handle that acted; None of a receipt, which only names the sender of the message."""
    if record.type.endswith((".delivered", ".read", ".failed")):
        return None
    handles = (_object(data.get(name)) for name in _HANDLES)
    found = (handle.get("handle") or handle.get("identifier") for handle in handles)
    return next((text for text in found if isinstance(text, str)), _text(data.get("from")))


def _detail(kind: str, data: Json) -> str | None:
    if kind == "failed":
        error = _object(data.get("error")) or data
        code, reason = error.get("code"), error.get("reason") or error.get("message")
        more = f" (detail {detail})" if (detail := data.get("detail_code")) is not None else ""
        return f"{'' if code is None else f'code {code}'}{f': {reason}' if reason else ''}{more}" or None
    if kind == "edited":
        index = _object(data.get("part")).get("index")
        return None if index is None else f"part {index}"
    name = data.get("custom_emoji") or data.get("reaction_type") or data.get("reaction")
    part = data.get("part_index")
    return f"{name}{f' on part {part}' if part else ''}" if isinstance(name, str) else None


def _data(record: Record) -> Json:
    try:
        return _object(_object(record.json()).get("data"))
    except ValueError:
        return {}


def _content(data: Json) -> Json:
    """Return what a message's event says of the message: of 2025-01-01 in an object of its own."""
    return _object(data.get("message")) or data


def _reply_to(content: Json) -> str | None:
    return _text(_object(content.get("reply_to")).get("message_id"))


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
