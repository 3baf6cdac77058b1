"""Search of a stream: in pages, backwards or forwards, by conditions on the fields of its entries.

There is no index of events by id, chat or handle: a search reads the entries. Redis compares them itself
(`search_stream.lua`), a page at a time, so that only what was found travels; the caller bounds the number of pages. An
entry of a topic takes 14 us of Redis's time, and 6 us if it is read by the client, which then needs 15 us for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis

PAGE = 100
"""Entries of a topic that one step reads; it blocks Redis for about 1.5 ms."""

SMALL = 5
"""So many times more are read of a stream with short entries of one field, in the same time."""

OLDEST, NEWEST = "-", "+"

_search, _search_many = Script(__package__, "search_stream"), Script(__package__, "search_streams")


class Kind(StrEnum):
    """A kind of condition on a field."""

    IS = "is"
    BEGINS = "begins"
    HAS = "has"
    HAS_LIKE = "has_like"
    """Contains it, whatever the case; the value is in lower case."""
    EITHER = "either"
    """Contains the first 16 bytes of the value, or the rest of it."""


class Condition(NamedTuple):
    """A condition on a field of an entry."""

    field: str
    kind: Kind
    value: str | bytes


def meets(fields: Mapping[bytes, bytes], condition: Condition) -> bool:
    """Return True if fields that were read otherwise meet a condition."""
    value = fields.get(condition.field.encode())
    wanted = condition.value.encode() if isinstance(condition.value, str) else condition.value
    if value is None:
        return False
    match condition.kind:
        case Kind.IS:
            return value == wanted
        case Kind.BEGINS:
            return value.startswith(wanted)
        case Kind.HAS:
            return wanted in value
        case Kind.HAS_LIKE:
            return wanted in value.lower()
        case Kind.EITHER:
            return wanted[:16] in value or wanted[16:] in value


class Found(NamedTuple):
    """An entry that a search has found."""

    entry: str
    fields: dict[bytes, bytes]


class Step(NamedTuple):
    """The result of one step of a search."""

    read: int
    last: str
    """The last entry that was read; empty if there was none."""
    found: Sequence[Found]
    is_end: bool
    """True if there is nothing more to read."""


async def step(  # noqa: PLR0913  a range, a direction and bounds
    redis: Redis,
    stream: str,
    start: str,
    end: str,
    conditions: Iterable[Condition],
    *,
    backwards: bool,
    most: int | None = None,
    factor: int = 1,
    page: int | None = None,
) -> Step:
    """Search the entries of a stream from `start` to `end`, at most `factor` pages, until `most` are found.

    `page` is the number of entries in a page, if that is to be smaller.

    `start` is an id, `(` and an id after which to begin, or `OLDEST` or `NEWEST`; backwards, `end` is the smaller one.
    """
    page = min(page or PAGE, PAGE) * factor
    limit = page if most is None else most
    arguments = _arguments("back" if backwards else "on", start, end, page, limit, conditions)
    return _step(await _search(redis, [stream], arguments), page, limit)


async def steps(
    redis: Redis, streams: Sequence[str], start: str, conditions: Iterable[Condition], *, factor: int = 1
) -> dict[str, Step | None]:
    """Return a step from `start` on, forwards, of each stream that there was time for; None of one of a wrong type.

    There is time for at least the first one, and for all if they have few entries: a call reads at most two pages.
    """
    page = PAGE * factor
    replies = await _search_many(redis, streams, _arguments("on", start, NEWEST, page, page, conditions))
    found = zip(streams, replies, strict=False)
    return {stream: _step(reply, page, page) if reply else None for stream, reply in found}


def _arguments(
    direction: str, start: str, end: str, page: int, most: int, conditions: Iterable[Condition]
) -> list[str | bytes | int]:
    return [direction, start, end, page, most, *(part for condition in conditions for part in condition)]


def _step(reply: Any, page: int, most: int) -> Step:
    read, last, rows = reply
    found = [Found(entry.decode(), dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in rows]
    return Step(read, last.decode(), found, is_end=read < page and len(found) < most)
