"""Linq's chats and messages, through the official SDK: pages of what an account has, at a limited rate.

A page is read as Linq sent it, without the SDK's models, because a message is put back as an event with all of its
fields. A page that is no page of Linq's is an error, and is asked for again a few times, as is one that fails.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import linq

from relay.core.errors import LinqApiError
from relay.core.json_text import parse_json, storable
from relay.linq.api.sdk import open_sdk
from relay.linq.api.v3 import Answer, LinqApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

PAGE = 100
"""Rows of a page: the most that Linq allows for chats."""
RATE = 20.0
"""Calls a second, unless another rate is given: Linq publishes no limit."""
RETRY_DELAYS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds before each new try of a page, after the SDK's own two."""


class Page(NamedTuple):
    """A page of a list."""

    rows: list[dict[str, Any]]
    cursor: str | None
    """Cursor of the next page; None at the end."""


class LinqHistory(LinqApi):
    """Chats and messages of an account."""

    def __init__(
        self, client: linq.AsyncLinqAPIV3, rate: float = RATE, retry_delays: Sequence[float] = RETRY_DELAYS
    ) -> None:
        """`rate` is the number of calls a second."""
        super().__init__(client)
        self._interval = 1 / rate
        self._retry_delays = retry_delays
        self._next_at = 0.0
        self.calls = 0
        """Number of calls so far, without the SDK's retries."""

    async def chats(self, line: str, cursor: str | None = None) -> Page:
        """Return a page of the chats of a line, in no particular order.

        Raises:
            LinqApiError: the page cannot be read.
        """
        call = self._client.chats.with_raw_response.list_chats
        asking = partial(call, from_=line, limit=PAGE, cursor=cursor or linq.omit)
        return await self._page(f"listing the chats of {line}", asking, "chats")

    async def messages(self, chat_id: str, cursor: str | None = None) -> Page | None:
        """Return a page of the messages of a chat, as Linq orders them; None if the chat does not exist.

        Raises:
            LinqApiError: the page cannot be read.
        """
        call = self._client.chats.messages.with_raw_response.list
        asking = partial(call, chat_id, limit=PAGE, cursor=cursor or linq.omit)
        try:
            return await self._page(f"listing the messages of chat {chat_id}", asking, "messages")
        except LinqApiError as error:
            if isinstance(error.__cause__, linq.NotFoundError):
                return None
            raise

    async def chat(self, chat_id: str) -> dict[str, Any] | None:
        """Return a chat; None if it does not exist.

        Raises:
            LinqApiError: it cannot be read.
        """
        call = partial(self._client.chats.with_raw_response.retrieve, chat_id)
        try:
            return await self._retried(f"reading chat {chat_id}", call, _with_id)
        except LinqApiError as error:
            if isinstance(error.__cause__, linq.NotFoundError):
                return None
            raise

    async def _page(self, what: str, call: Callable[[], Awaitable[Any]], field: str) -> Page:
        """Read a page; a page that is shorter than asked for, and not the last, is read once more."""
        read = partial(_rows_in, field=field)
        page = await self._retried(what, call, read)
        if page.cursor is None or len(page.rows) >= PAGE:
            return page
        again = await self._retried(what, call, read)
        return max(page, again, key=lambda each: len(each.rows))

    async def _retried(self, what: str, call: Callable[[], Awaitable[Any]], read: Callable[[Any], Answer]) -> Answer:
        for delay in (*self._retry_delays, None):
            await self._turn()
            try:
                return await self._ask(what, call, read)
            except LinqApiError as error:
                if delay is None or isinstance(error.__cause__, _FINAL):
                    raise
                await asyncio.sleep(delay)
        raise AssertionError  # not reached

    async def _turn(self) -> None:
        """Wait until the rate permits another call."""
        clock = asyncio.get_running_loop().time
        at = max(self._next_at, clock())
        self._next_at = at + self._interval
        self.calls += 1
        if at > clock():
            await asyncio.sleep(at - clock())


_FINAL = (linq.AuthenticationError, linq.PermissionDeniedError, linq.NotFoundError, linq.BadRequestError)
"""Answers that stay the same."""


@asynccontextmanager
async def open_linq_history(
    api_key: str, base_url: str, rate: float = RATE, retry_delays: Sequence[float] = RETRY_DELAYS
) -> AsyncIterator[LinqHistory]:
    """Open a reader of the chats and messages of an account."""
    async with open_sdk(api_key, base_url) as client:
        yield LinqHistory(client, rate, retry_delays)


def _rows_in(answer: Any, field: str) -> Page:
    body = _object_in(answer)
    rows, cursor = body[field], body.get("next_cursor")
    if rows is None:
        rows = []
    if not isinstance(rows, list):
        raise TypeError(f"{field} is no list")
    if not all(isinstance(row, dict) and storable(row.get("id")) for row in rows):
        raise ValueError(f"{field} without ids")
    return Page(rows, str(cursor) if cursor not in {None, ""} else None)


def _with_id(answer: Any) -> dict[str, Any]:
    body = _object_in(answer)
    if not storable(body["id"]):
        raise TypeError("no id")
    return body


def _object_in(answer: Any) -> dict[str, Any]:
    body = parse_json(answer.http_response.content)
    if not isinstance(body, dict):
        raise TypeError("no object")
    return body
