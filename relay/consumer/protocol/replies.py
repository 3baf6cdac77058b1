"""Raw replies of Redis, of protocol version 2 or 3, of clients that decode text or do not."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..event import Event
from ..names import id_before, order_of


class Pending(NamedTuple):
    """An event that a member of the group has, or had, and that is not acknowledged."""

    entry: str
    holder: str
    idle_ms: int
    deliveries: int


class Group(NamedTuple):
    """A row of XINFO GROUPS."""

    position: str
    """`last-delivered-id`."""
    read: int | None
    """`entries-read`; None if Redis does not know."""


class Stream(NamedTuple):
    """Parts of XINFO STREAM."""

    added: int
    removed: int
    first: str | None
    last: str


def text_of(value: Any) -> str:
    """Return a text, whether the client decoded it or not."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _table(reply: Any) -> dict[str, Any]:
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2])
    return {text_of(name): value for name, value in pairs}


def read_entries(reply: Any) -> list[Any]:
    """Return the entries of XREADGROUP on one stream: id and fields of each."""
    if not reply:
        return []
    entries: list[Any] = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
    return entries


def new_events(entries: list[Any], shard: int = 0) -> list[Event]:
    """Return the events of entries that are delivered for the first time."""
    if entries and isinstance(entries[0][0], str):
        return [Event(entry, raw, 1, shard) for entry, raw in entries]
    return [Event(entry.decode(), raw, 1, shard) for entry, raw in entries]


def claimed_events(entries: list[Any], deliveries: dict[str, int], shard: int = 0) -> list[Event]:
    """Return the events of entries that still exist, with their numbers of deliveries."""
    rows = [(text_of(row[0]), row[1]) for row in entries if row and row[1]]
    return [Event(entry, raw, deliveries.get(entry, 1), shard) for entry, raw in rows]


def ids_of(reply: Any) -> list[str]:
    """Return the ids of a reply that has only ids."""
    return [text_of(entry) for entry in reply]


def pending_of(reply: Any) -> list[Pending]:
    """Return the rows of XPENDING with a range; none if the command was refused."""
    if isinstance(reply, Exception):
        return []
    return [Pending(text_of(entry), text_of(holder), idle, count) for entry, holder, idle, count in reply]


def oldest_pending(reply: Any) -> str | None:
    """Return the first id of XPENDING without a range."""
    return text_of(reply[1]) if reply[0] else None


def group_of(reply: Any, name: str) -> Group | None:
    """Return a group of XINFO GROUPS."""
    for row in () if isinstance(reply, Exception) else reply:
        table = _table(row)
        if text_of(table["name"]) == name:
            return Group(text_of(table["last-delivered-id"]), table.get("entries-read"))
    return None


def stream_of(reply: Any) -> Stream | None:
    """Return what XINFO STREAM tells; None if it was refused, or there is no such stream."""
    if isinstance(reply, Exception):
        return None
    table = _table(reply)
    first, added = table["first-entry"], table.get("entries-added", table["length"])
    return Stream(
        added=added,
        removed=added - table["length"],
        first=text_of(first[0]) if first else None,
        last=text_of(table["last-generated-id"]),
    )


def missed_by(group: Group, stream: Stream, counted: int) -> int:
    """Return the number of events trimmed before the group read them; -1 if at least one was and the number is unknown.

    `counted` is the number of removed entries of the stream up to which they have been counted.
    """
    if not stream.removed or group.position == "0-0":  # a new group has missed nothing
        return 0
    if stream.first is not None and order_of(group.position) >= order_of(id_before(stream.first)):
        return 0
    if group.read is not None:
        return max(stream.removed - max(group.read, counted), 0)
    if stream.removed <= counted:
        return 0
    return -1 if stream.first is not None or group.position != stream.last else 0


def place_of(group: Group, oldest: str | None) -> str:
    """Return where a group resumes if it gets lost; `oldest` was pending at the same time as `group`, or later."""
    if oldest is None or order_of(oldest) > order_of(group.position):
        return group.position
    return id_before(oldest)
