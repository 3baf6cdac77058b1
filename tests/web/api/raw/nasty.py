"""Values, bodies and headers that no honest client sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

MARKUP = "<xss-mark onload=x>"
"""A text that must be escaped wherever a page shows it."""

TEXTS = (
    *("", " ", "\0", "a\0b", "\r\nX-Injected: 1", "\t", "\x7f", "\u2028", "\u202e", "é", "🦊", "\ud800", "\ufeff"),
    *(MARKUP, '"><xss-mark>', "{{7*7}}", "{% raw %}", "' OR 1=1", "../../etc/passwd", "%00", "%2e%2e%2f", "..", "."),
    *("null", "NaN", "-1", "0", "1e308", "1" * 400, "x" * 257, "x" * 5000, "*", "[", "push:red-hook", "relay:tokens"),
    *("0-0", "-", "+", "$", ">", "1-1", "18446744073709551615-18446744073709551615", "99999999999999999999-0"),
    *("1h", "-1h", "1e9h", "0s", "9999999999d", "infh", "nand", "2026-13-45", "0001-01-01", "9999-12-31T23:59:59Z"),
    *("http://169.254.169.254/", "http://[::1]:6379/", "file:///etc/passwd", "gopher://x", "http://", "https://a b"),
    *("MS0xIA", "MS0xIGJsdWU", "====", "é" * 100, "true", "on", "message.*", "**", "(((((((((", "+1", "0" * 64),
)
NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, 5e-324)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [None], [[]], {"": ""}, {"a": {"b": []}}, ["x"] * 2000)

_DEEP = 20_000


def value(chance: random.Random) -> Any:
    """Return a value of JSON."""
    return chance.choice(chance.choice((TEXTS, TEXTS, NUMBERS, OTHERS)))


def document(chance: random.Random, body: bytes) -> bytes:
    """Return a body that is hardly JSON, or too much of it."""
    return chance.choice(_DOCUMENTS)(chance, body)


def _spoilt(chance: random.Random, body: bytes) -> bytes:
    at = chance.randrange(len(body) + 1)
    return body[:at] + bytes(chance.choices(range(256), k=chance.randrange(1, 9))) + body[at + 1 :]


def _encoded(chance: random.Random, body: bytes) -> bytes:
    return body.decode(errors="replace").encode(chance.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")), "replace")


def _large(chance: random.Random, body: bytes) -> bytes:
    size = chance.choice((262_000, 270_000, 600_000, 1_100_000)) if chance.random() < 0.2 else 30_000
    return b'{"why": "' + b"x" * size + body


_ODD = (b"", b" ", b"{", b"null", b"[]", b"1", b'"x"', b"NaN", b"{} {}", b"\xff\xfe{}", b"\0", b"\xef\xbb\xbf{}")
_DOCUMENTS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(_spoilt, _spoilt, _spoilt, _encoded, _large),
    lambda chance, _: chance.choice(_ODD),
    lambda *_: b"[" * _DEEP,
    lambda *_: b'{"why":' * _DEEP,
    lambda *_: b'{"why":' + b"[" * 5000 + b"]" * 5000 + b"}",
    lambda chance, body: body[: chance.randrange(len(body) + 1)],
    lambda _, body: body.replace(b'"', b"'"),
    lambda chance, _: b'{"why": ' + b"9" * chance.choice((400, 5000, 100_000)) + b"}",
    lambda _, body: body[:-1] + b', "why": 1, "why": "twice"}',
    lambda *_: json.dumps({f"field{number}": number for number in range(3000)}).encode(),
)


def headers(chance: random.Random) -> tuple[str, str]:
    """Return a header that the server may stumble over."""
    name, texts = chance.choice(_HEADERS)
    return name, chance.choice(texts)


_HEADERS = (
    ("If-Match", ("*", '"1"', '"0"', 'W/"1"', '"999999999999999999"', "1", "", '"1", "2"', '"x"', "\xff", '"' * 500)),
    (
        "Idempotency-Key",
        (*(f"key-{number}" for number in range(40)), "", " ", "a b", "x" * 255, "x" * 256, "\xe9", ":*"),
    ),
    ("Content-Type", ("text/plain", "", "application/json; charset=utf-16", "application/xml", "x" * 300, "a/b/c;;;")),
    ("X-Request-Id", ("abc", "x" * 65, "\xff", "<xss-mark>", "")),
    ("Accept", ("text/html", "*/*;q=0", "", "application/json;q=x")),
    ("Accept-Encoding", ("gzip", "identity;q=0", "br, *;q=0.1")),
    ("Content-Encoding", ("gzip", "br", "identity", "x")),
    (
        "Cookie",
        ("relay_session=x", "relay_session=" + "y" * 64, "a=b; c", "relay_notice=%3Cxss-mark%3E", "\xff", ";;="),
    ),
    ("X-Forwarded-For", ("127.0.0.1", "10.0.0.1, ::1", "x" * 100)),
    ("X-Forwarded-Proto", ("https", "gopher")),
    ("X-Forwarded-Host", ("evil.example.com",)),
    ("Remote-User", ("alice", "operator", "root")),
    ("X-HTTP-Method-Override", ("DELETE",)),
    ("Range", ("bytes=0-", "bytes=-1", "x")),
    ("Expect", ("100-continue", "200-ok")),
    ("Last-Event-ID", ("0-0", "1-1", "99999999999999999999-0", "x" * 60, "\xff", "")),
    ("HX-Request", ("true",)),
    ("Sec-Fetch-Site", ("cross-site", "same-origin", "none")),
    ("Origin", ("null", "https://evil.example.com", "http://")),
    ("Host", ("evil.example.com", "", "a b", "[::1")),
    ("Connection", ("close", "upgrade", "keep-alive, x")),
    ("Upgrade", ("websocket", "h2c")),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "identity", "x")),
    ("Content-Length", ("0", "1", "99", "-1", "x", "99999999999999999999")),
    ("X-Long", ("y" * 7000, "y" * 9000)),
    ("Bad Name", ("x",)),
)

AUTHORIZATIONS = (
    *("Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer \xff\xff", "Bearer " + "x" * 201, "Bearer " + "x" * 7000),
    *("bearer lrt_cnD7Jy2TsdZs_bwdH7eQErkP8BCf3XyHO48ZlmwUdGQa33uB4BP", "Bearer lrt_", "Digest x", "\xe9"),
)
