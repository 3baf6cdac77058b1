"""The chats and messages of Linq's v3 API: what can be read, in pages.

A cursor is the number of rows before the page, as in Linq's sample: rows that appear meanwhile move the others, so that
a reader can see one twice. Messages come newest first; the order of chats is arbitrary.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from pydantic_core import to_json

from relay.core.lines import is_line
from relay.sandbox.api.v3_errors import invalid, not_e164, not_your_line, unknown_chat, unknown_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.sandbox.history import Chat, History
    from relay.sandbox.state import SandboxState

_T = TypeVar("_T")
_DEFAULT_LIMIT, _MAX_LIMIT = 20, 100
_MAX_DIGITS = 9


class V3Chats:
    """The endpoints under `/v3/chats` and `/v3/messages`."""

    def __init__(self, state: SandboxState, history: History) -> None:
        self._state = state
        self._history = history

    def routes(self) -> list[web.RouteDef]:
        """Return the routes, without the prefix `/v3`."""
        return [
            web.get("/chats", self.chats),
            web.get("/chats/{id}", self.chat),
            web.get("/chats/{id}/messages", self.messages),
            web.get("/messages/{id}", self.message),
        ]

    async def chats(self, request: web.Request) -> web.Response:
        """`GET /v3/chats`: a page of the chats of one line, or of all lines."""
        line = request.query.get("from")
        if line is not None and not is_line(line):
            raise not_e164()
        if line is not None and line not in self._state.lines:
            raise not_your_line()
        found = self._history.chats(self._state.lines if line is None else [line], request.query.get("to"))
        page, cursor = _page(request, found, len(found))
        return _json({"chats": [chat.as_json() for chat in page], "next_cursor": cursor})

    async def chat(self, request: web.Request) -> web.Response:
        """`GET /v3/chats/{id}`."""
        return _json(self._find(request).as_json())

    async def messages(self, request: web.Request) -> web.Response:
        """`GET /v3/chats/{id}/messages`: a page, newest first."""
        chat = self._find(request)
        page, cursor = _page(request, reversed(chat.messages), len(chat.messages))
        return _json({"messages": [chat.json_of(message) for message in page], "next_cursor": cursor})

    async def message(self, request: web.Request) -> web.Response:
        """`GET /v3/messages/{id}`."""
        found = self._history.message(request.match_info["id"])
        if found is None or found[0].line not in self._state.lines:
            raise unknown_message()
        chat, message = found
        return _json(chat.json_of(message))

    def _find(self, request: web.Request) -> Chat:
        chat = self._history.chat(request.match_info["id"])
        if chat is None or chat.line not in self._state.lines:
            raise unknown_chat()
        return chat


def _page(request: web.Request, rows: Iterable[_T], total: int) -> tuple[list[_T], str | None]:
    """Return the rows of the requested page, and the cursor of the next one."""
    limit, start = request.query.get("limit", str(_DEFAULT_LIMIT)), request.query.get("cursor", "0")
    if not _is_number(limit) or not 1 <= int(limit) <= _MAX_LIMIT:
        raise invalid(f"limit must be a number from 1 to {_MAX_LIMIT}")
    if not _is_number(start):
        raise invalid("cursor is not one of this API")
    end = int(start) + int(limit)
    return list(islice(rows, int(start), end)), str(end) if end < total else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS


def _json(value: Any) -> web.Response:
    return web.Response(body=to_json(value), content_type="application/json")
