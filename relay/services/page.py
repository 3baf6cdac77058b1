"""Pages of a list: some items, and the cursor of the next page.

A page is bounded in time, whatever is asked for: a filter that few entries match gives short pages, also empty ones,
each with the cursor at which the search continues. Only a page without a cursor is the last.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from relay.core.errors import Invalid, Problem
from relay.store.driver.merged_streams import Place
from relay.store.driver.streams import is_entry_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from relay.store.driver.merged_streams import Entry

Item = TypeVar("Item")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
"""Items of a page."""

MAX_EXAMINED = 5000
"""Entries that are looked at for one page."""

_MAX_MS = 10**15
_MAX_SECONDS = 0.05
"""Time after which a page ends with what was found."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list."""

    items: tuple[Item, ...]
    next: str | None
    """The cursor of the next page, opaque text; None if this is the last one."""


def place_of(cursor: str | None) -> Place | None:
    """Return the place of a cursor; None for the beginning.

    Raises:
        Invalid: it is not a cursor.
    """
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
    except ValueError:
        text = ""
    entry, _, name = text.partition(" ")
    if not is_entry_id(entry):
        raise Invalid(Problem("cursor", "it is not a cursor of this list; use the one of the previous page"))
    return Place(entry, name)


def cursor_of(place: Place) -> str:
    """Return the cursor of the page after `place`."""
    return urlsafe_b64encode(f"{place.id} {place.name}".encode()).decode().rstrip("=")


def bound_at(ms: float | None, skew_ms: int = 0) -> str | None:
    """Return the bound of ids at a time, Unix milliseconds, less the tolerated lead of a clock; None without a time."""
    return None if ms is None else str(round(min(max(ms - skew_ms, 0), _MAX_MS)))


def check_limit(limit: int) -> int:
    """Return `limit`.

    Raises:
        Invalid: a page cannot have so many items.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(Problem("limit", f"{limit} is not a number of items from 1 to {MAX_LIMIT}"))
    return limit


async def page_of(entries: AsyncGenerator[Entry], limit: int, item_of: Callable[[Entry], Item | None]) -> Page[Item]:
    """Return a page of the items that `item_of` makes of `entries`; None leaves one out."""
    clock = asyncio.get_running_loop().time
    until = clock() + _MAX_SECONDS
    items: list[Item] = []
    last: Place | None = None
    examined = 0
    async with aclosing(entries):
        async for entry in entries:
            if last and (len(items) == limit or examined == MAX_EXAMINED or clock() > until):
                return Page(tuple(items), cursor_of(last))
            examined, last = examined + 1, entry.place
            if (item := item_of(entry)) is not None:
                items.append(item)
    return Page(tuple(items), None)
