"""Events of the bench: v3 bodies of a given size with distinct ids, and whole signed requests, made beforehand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from zlib import crc32

from tests.building import LINE, SECRET, body_of, signed

SIZE = 1024
"""Size of a body in bytes."""
_CHATS = 100  # of each line
_ENVELOPE = len(body_of("message.received", "", chat_id="", due_ms=0, text=""))


def line_of(number: int) -> str:
    """Return the line with a number."""
    return f"+1646{5_550_000 + number}"


def event_body(event_id: str, size: int = SIZE, due_ms: float = 0.0, line: str = LINE) -> bytes:
    """Return a body of about `size` bytes; `due_ms` is the time at which it is due, in Unix milliseconds."""
    chat = f"chat-{line}-{crc32(event_id.encode()) % _CHATS}"
    padding = "x" * (size - _ENVELOPE - len(event_id) - len(chat))
    return body_of("message.received", event_id, chat_id=chat, due_ms=due_ms, text=padding)


def due_ms_of(body: bytes) -> float:
    """Return the `due_ms` of a body."""
    start = body.index(b'"due_ms": ') + 10
    return float(body[start : body.index(b",", start)])


@dataclass(frozen=True, slots=True)
class Order:
    """Order for a load process."""

    port: int
    seconds: float
    events: int
    """Maximum number of requests, or, with `repeat`, the number of different ones."""
    prefix: str = "e"
    """Prefix of the event ids."""
    connections: int = 64
    rate: float = 0.0
    """Requests a second, at fixed times; 0 sends the next one at each response."""
    size: int = SIZE
    repeat: bool = False
    """True to start again with the first request after the last."""


def requests_of(order: Order, begins_at: float) -> list[bytes]:
    """Return the requests as bytes; with a rate, the first is due at `begins_at`, Unix seconds."""
    path = f"/webhooks/linq?version=2026-02-03&line={LINE.removeprefix('+')}&gen=1"
    start = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Linq-Webhooks/1.0\r\n"
    now = time.time()
    requests = []
    for number in range(order.events):
        due = begins_at + number / order.rate if order.rate else now
        body = event_body(f"{order.prefix}-{number}", order.size, due * 1000)
        headers = signed(body, now, SECRET, f"{order.prefix}-{number}") | {"Content-Length": str(len(body))}
        head = start + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        requests.append(head.encode() + body)
    return requests
