"""Parse the head of an ordinary webhook: a POST with a body of known length that asks nothing of HTTP but a response.

httptools parses (uvicorn's parser; it wraps llhttp, as aiohttp's does). A request that it refuses, or that uses
anything aiohttp treats in a special way (chunks, Expect, Upgrade, a repeated, folded or non-ASCII header, HTTP/1.0 with
keep-alive, no Host), is not ordinary. The caller leaves it to aiohttp, so that a request gets the same response from
both parsers. A header that a newer aiohttp treats in a special way belongs in `_FOR_AIOHTTP`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD = 8190
"""Bytes of a head; aiohttp allows as many for one line of it."""

METHOD = b"POST "
"""The beginning of a webhook."""

GET = b"GET "
"""The beginning of a probe."""

_MAX_HEADERS = 128  # as aiohttp
_MAX_DIGITS = 10  # of a Content-Length
_FOR_AIOHTTP = frozenset((b"expect", b"sec-websocket-key1", b"transfer-encoding", b"upgrade"))


class RequestHead:
    """Target and headers of one request: httptools fills it, and it is the multi-dict of its headers."""

    __slots__ = ("_headers", "is_http_1_0", "keeps_alive", "target")

    def __init__(self) -> None:
        self.target = b""
        """Path and query."""
        self.keeps_alive = True
        """True if the connection stays open after the response."""
        self.is_http_1_0 = False
        """True if the response must be of that version too; the connection ends after it."""
        self._headers: dict[bytes, bytes] = {}

    def getall(self, key: str, default: tuple[()], /) -> Sequence[str]:
        """Return the value of the header `key` as the only one; an ordinary webhook repeats none."""
        value = self._headers.get(key.lower().encode())
        return default if value is None else (value.decode("ascii"),)

    def __contains__(self, key: object, /) -> bool:
        return isinstance(key, str) and key.lower().encode() in self._headers

    @property
    def body_length(self) -> int:
        """Bytes of the body; 0 without a readable Content-Length."""
        length = self._headers.get(b"content-length", b"")
        return int(length) if length.isdigit() and len(length) <= _MAX_DIGITS else 0

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers[name.lower()] = value.rstrip(b" \t")

    def is_ordinary(self, raw: bytes, method: bytes = METHOD) -> bool:
        """Return True if aiohttp would find nothing special in the head, `raw`."""
        headers = self._headers
        at = len(method) + len(self.target)
        self.is_http_1_0 = not self.keeps_alive and raw.startswith(b" HTTP/1.0\r\n", at)
        return (
            raw.isascii()
            and (self.is_http_1_0 or raw.startswith(b" HTTP/1.1\r\n", at))
            and len(headers) <= _MAX_HEADERS
            and raw.count(b"\n") == len(headers) + 2  # a line for each: none is repeated, none is folded
            and headers.keys().isdisjoint(_FOR_AIOHTTP)
            and b"host" in headers
        )


def parse_head(raw: bytes) -> RequestHead | None:
    """Return the head of an ordinary webhook; None for any other. `raw` ends with the empty line."""
    if len(raw) > MAX_HEAD or not raw.startswith(METHOD):
        return None
    head = RequestHead()
    parser = HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except (HttpParserError, HttpParserUpgrade):
        return None
    head.keeps_alive = parser.should_keep_alive()  # valid until the body ends, so only where one follows
    return head if head.body_length and head.is_ordinary(raw) else None


def parse_probe(raw: bytes) -> RequestHead | None:
    """Return the head of an ordinary GET without a body; None for any other. `raw` ends with the empty line."""
    if len(raw) > MAX_HEAD or not raw.startswith(GET):
        return None
    head = RequestHead()
    try:
        HttpRequestParser(head).feed_data(raw)
    except (HttpParserError, HttpParserUpgrade):
        return None
    wanted = ",".join(head.getall("Connection", ())).lower()
    if wanted not in {"", "close", "keep-alive"} or "Content-Length" in head:
        return None
    head.keeps_alive = wanted != "close" and b" HTTP/1.1\r\n" in raw
    return head if head.is_ordinary(raw, GET) else None
