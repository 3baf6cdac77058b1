"""The entry of an event in a topic's stream: the public interface of pull subscribers, so fields are only ever added.

id         Linq's event id                          always
type       event type                               always
line       the line, E.164; empty if unknown        always
chat       Linq's chat id; empty if unknown         always
at         when the relay accepted it, Unix ms      always
version    payload shape: 2026-02-03, 2025-01-01, v2 always
body       the signed body, byte for byte          always
message, direction, service, group (0 or 1), created (Linq's created_at), trace, freshness (only `history`), webhook_id
(only if it differs from the event id): if the event has them
account    name of its account, where relay.toml has `[[linq.accounts]]`
via        its origin (`Origin`): proof of the line, generation of the secret that verified it, address of the sender,
           such as `url 1 203.0.113.7`; older releases did not write it
source     `backfill` if the relay made the event of a message that it found at Linq; then `body` is not signed by Linq,
           and there is no `via`
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.event import Freshness
from relay.core.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.event import Event

_FLAG = {b"1": True, b"0": False}
_LIVE, _HISTORY = Freshness.LIVE, Freshness.HISTORY  # a member of an enumeration costs a look-up in its class
_TEXTS = (
    *(b"id", b"type", b"line", b"chat", b"version", b"webhook_id", b"message", b"direction", b"service"),
    *(b"created", b"trace", b"account", b"source"),
)
"""The fields that are texts."""


class Proof(StrEnum):
    """The proof of an event's line."""

    URL = "url"
    """The URL at which it arrived, whose secret signed it."""
    PAYLOAD = "payload"
    CHAT = "chat"
    """An earlier event of its chat."""
    NONE = "none"
    """It has no line."""


class Origin(NamedTuple):
    """The origin of an event: the field `via`."""

    proof: Proof
    generation: int
    """The generation of the secret that verified it; for v2, 0 or `V2_FORMER_SECRET`."""
    address: str | None
    """IP address of the sender: Linq, or the load balancer in front; None if it had none."""


class Record(NamedTuple):  # made for every delivery, in a third of the time that a frozen dataclass takes
    """An entry of a topic's stream."""

    entry: str
    """The stream entry's id; grows in the order of acceptance."""
    id: str
    type: str
    line: str | None
    chat: str | None
    at: int
    """Time of acceptance, Unix milliseconds."""
    version: str
    body: bytes
    webhook_id: str
    message: str | None = None
    direction: str | None = None
    service: str | None = None
    is_group: bool | None = None
    created: str | None = None
    trace: str | None = None
    freshness: Freshness = Freshness.LIVE
    account: str | None = None
    source: str | None = None
    """`backfill` if the relay made the event of a message that it found at Linq; None for a webhook of Linq's."""

    def json(self) -> Any:
        """Return the parsed body."""
        return parse_json(self.body)


def fields_of(  # noqa: C901  a condition for each optional field
    event: Event, at: bytes | int, webhook_id: str, body: bytes, via: bytes = b""
) -> list[bytes | str | int]:
    """Return the names and values of the entry's fields for `event`, flat, as XADD takes them."""
    _, chat, message, direction, service, is_group, _ = event.fields
    fields: list[bytes | str | int] = [
        *("id", event.id, "type", event.type, "line", event.line or "", "chat", chat or ""),
        *("at", at, "version", event.version),
    ]
    if message:
        fields += ("message", message)
    if direction:
        fields += ("direction", direction)
    if service:
        fields += ("service", service)
    if event.created_at:
        fields += ("created", event.created_at)
    if event.trace_id:
        fields += ("trace", event.trace_id)
    if is_group is not None:
        fields += ("group", int(is_group))
    if event.freshness is Freshness.HISTORY:
        fields += ("freshness", Freshness.HISTORY.value)
    if event.account is not None:
        fields += ("account", event.account)
    if webhook_id != event.id:
        fields += ("webhook_id", webhook_id)
    if via:
        fields += ("via", via)
    fields += ("body", body)
    return fields


def mark_source(fields: list[bytes | str | int], source: bytes) -> None:
    """Mark the fields of an entry as an event that Linq did not sign; the body stays the last."""
    fields[-2:-2] = ("source", source)


def record_of(entry: bytes, fields: Mapping[bytes, bytes]) -> Record:
    """Return the record of a stream entry; unknown fields are ignored."""
    texts = [value.decode("utf-8", "replace") if value else None for value in map(fields.get, _TEXTS)]
    event_id, event_type, line, chat, version, webhook_id, *rest = texts
    message, direction, service, created, trace, account, source = rest
    return Record(
        entry.decode(),
        event_id or "",
        event_type or "",
        line,
        chat,
        int(fields.get(b"at") or 0),
        version or "",
        fields.get(b"body", b""),
        webhook_id or event_id or "",
        message,
        direction,
        service,
        _FLAG.get(fields.get(b"group", b"")),
        created,
        trace,
        _HISTORY if fields.get(b"freshness") == b"history" else _LIVE,
        account,
        source,
    )


def origin_of(fields: Mapping[bytes, bytes]) -> Origin | None:
    """Return the origin of an event; None if its entry, of an older release, does not have it."""
    try:
        proof, generation, address = fields.get(b"via", b"").decode().split(" ")
        return Origin(Proof(proof), int(generation), None if address == "-" else address)
    except ValueError:
        return None
