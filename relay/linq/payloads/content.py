"""The content of an event: facts in its body that are read only if a condition of a topic asks for them.

The sender is in a different field in most families of events: `sender_handle` (messages, polls, contact cards),
`from_handle` or `from` (reactions, calls, 2025-01-01), `actor_handle`, `changed_by_handle` or `shared_by`; in v2
`from_phone`, `from` or the reaction's `chat_handle`. A field that names another person (a new participant, the
recipient) is not read.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from relay.core.json_text import parse_json, storable
from relay.linq.payloads.opt_out import opt_out_in, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.conditions.content import OptOut

_SENDERS = ("sender_handle", "from_handle", "from", "from_phone", "actor_handle", "changed_by_handle", "shared_by")
_MEDIA = {"media", "voice_memo"}


class BodyContent:
    """The content of an event with this body, parsed when it is first asked for."""

    def __init__(self, body: bytes) -> None:
        self._bytes = body

    @cached_property
    def body(self) -> Any:
        """The parsed body; None if it is no JSON."""
        try:
            return parse_json(self._bytes)
        except ValueError:
            return None

    @cached_property
    def _data(self) -> Mapping[str, Any]:
        data = self.body.get("data") if isinstance(self.body, dict) else None
        return data if isinstance(data, dict) else {}

    @cached_property
    def sender(self) -> str | None:
        """The handle of who caused the event, e-mail addresses in lower case; None if the body names no sender."""
        data = self._data
        for name in _SENDERS:
            if name in data and (handle := _handle(data[name])):
                return handle
        if data.get("is_from_me") is False:  # a reaction of v2
            return _handle(data.get("chat_handle"))
        return None

    @cached_property
    def has_media(self) -> bool | None:
        """True if the message has a file; None if the event has no message."""
        parts = parts_of(self._data)
        if parts is not None:
            return any(isinstance(part, dict) and part.get("type") in _MEDIA for part in parts)
        attachments = self._data.get("attachments")
        return bool(attachments) if isinstance(attachments, list) else None

    @cached_property
    def opt_out(self) -> OptOut | None:
        """The wish of a customer whose whole text is a keyword such as STOP or START."""
        return opt_out_in(self.body)


def _handle(value: object) -> str | None:
    """Return the handle in an object or a text, as it is compared."""
    if isinstance(value, dict):
        value = value.get("handle", value.get("identifier"))
    handle = (storable(value) or "").strip()
    return (handle.lower() if "@" in handle else handle) or None
