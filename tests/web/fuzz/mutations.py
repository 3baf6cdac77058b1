"""Mutated requests: signed webhooks and forged ones, changed in their heads, their framing and their bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.building import OTHER_SECRET, SECRET, body_of, signed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Mutation = Callable[[random.Random, bytes, bytes], tuple[bytes, bytes]]

SIGNED = tuple(body_of(event_id=f"signed-{number}", text="x" * 10**number) for number in range(5))
"""The bodies that are signed with the secret of the line: no other may be accepted."""
TARGET = "/webhooks/linq?version=2026-02-03&line=16465550123&gen=1"
_BYTES = b"\r\n\t :,;#?%/&=\0\x7f\x80\xffaZ-09+"
_HEADERS = (
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"transfer-encoding:chunked, chunked"),
    *(b"Content-Length: 0", b"Content-Length: 1", b"Content-Length: 99999999999999999999", b"Content-Length: -5"),
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: websocket", b"Host: y"),
    *(
        b"Expect: 100-continue",
        b"Expect: 200",
        b"webhook-signature: v1,AAAA",
        b"webhook-id: another",
        b"Empty:",
        b": x",
    ),
    *(b"X-Webhook-Signature: 00", b" folded", b"X: " + b"y" * 9000, b"Content-Encoding: gzip", b"X: \xe9"),
)
_TARGETS = (
    "/webhooks/linq/v2",
    "/webhooks/linq",
    "/live",
    "/webhooks/linq?line=1",
    "//webhooks/linq",
    "*",
    "/\xff",
    "",
)


def mutated(chance: random.Random, now: float) -> bytes:
    """Return a request that is changed one to three times, or not at all; `now` is the time of its signature."""
    if is_forged := chance.random() < 0.5:
        body = body_of(event_id=f"forged-{chance.randrange(10**9)}", text="y" * chance.choice((0, 100, 70_000)))
    else:
        body = chance.choice(SIGNED)
    headers = signed(body, now, OTHER_SECRET if is_forged else SECRET)
    lines = [f"POST {TARGET} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join(lines).encode()
    if chance.random() < 0.3:
        head += b"\r\nTransfer-Encoding: chunked"
        body = chunked(chance, body)
    else:
        head += b"\r\nContent-Length: %d" % len(body)
    for _ in range(chance.randrange(4)):
        head, body = chance.choice(MUTATIONS)(chance, head, body)
    return head + b"\r\n\r\n" + body


def chunked(chance: random.Random, body: bytes) -> bytes:
    """Return `body` in one to three chunks."""
    cuts = sorted(chance.randrange(len(body)) for _ in range(chance.randrange(3)))
    parts = [body[start:end] for start, end in zip((0, *cuts), (*cuts, len(body)), strict=True) if start < end]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _bytes_of(chance: random.Random, text: bytes) -> bytes:
    changed = bytearray(text)
    at = chance.randrange(len(changed) + 1)
    changed[at : at + chance.randrange(3)] = bytes(
        chance.choices((*_BYTES, chance.randrange(256)), k=chance.randrange(3))
    )
    return bytes(changed)


def _head(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return _bytes_of(chance, head), body


def _body(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return head, _bytes_of(chance, body)


def _header(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    lines = head.split(b"\r\n")
    lines.insert(chance.randint(1, len(lines)), chance.choice((*_HEADERS, *lines[1:])))
    return b"\r\n".join(lines), body


def _missing_header(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    lines = head.split(b"\r\n")
    del lines[chance.randrange(len(lines))]
    return b"\r\n".join(lines), body


def _target(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return head.replace(TARGET.encode(), chance.choice(_TARGETS).encode("latin-1")), body


def _version(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return head.replace(
        b"HTTP/1.1", chance.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"", b"x"))
    ), body


def _method(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return head.replace(
        b"POST", chance.choice((b"GET", b"PUT", b"post", b"HEAD", b"CONNECT", b"OPTIONS", b"P\0T"))
    ), body


def _bare_newlines(_: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return head.replace(b"\r\n", b"\n"), body


def _cut(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return head, body[: chance.randrange(len(body) + 1)]


def _hidden_request(chance: random.Random, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Put a forged request into the body: one reader of the framing may see it as the next request."""
    forged = body_of(event_id=f"forged-{chance.randrange(10**9)}")
    signature = "".join(f"{name}: {value}\r\n" for name, value in signed(forged, 0, OTHER_SECRET).items())
    hidden = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\n{signature}Content-Length: {len(forged)}\r\n\r\n".encode() + forged
    return head, chance.choice((body + hidden, hidden + body, b"0\r\n\r\n" + hidden))


MUTATIONS: tuple[Mutation, ...] = (
    *(_head, _head, _head, _body, _header, _header, _missing_header),
    *(_target, _version, _method, _bare_newlines, _cut, _hidden_request),
)
