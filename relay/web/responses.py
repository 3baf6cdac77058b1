"""The responses of the ingress: one table from errors to HTTP.

A failure of ours is always 503: Linq retries after 5xx, 429 and network errors for about 25 minutes, and takes every
other 4xx as final (https://docs.linqapp.com/guides/webhooks).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import to_json

from relay.core.errors import BadSignature, RejectedWebhook, SecretUnknown, StoreUnavailable, TooManyFailures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Probe = Callable[[], Awaitable["Response"]]
    """The answer to GET at a path, such as `/ready`."""

MAX_BODY = 1024 * 1024
"""Bytes of a webhook's body; Linq documents no limit, its own plugins read up to 1 MB."""


class Response(NamedTuple):
    """A response, without its length and date: the sender adds them."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    delay: float = 0.0
    """Seconds to wait before it is sent."""

    def encode(self, date: str, *, closing: bool, version: str = "1.1") -> bytes:
        """Return the bytes to send; `closing` announces that the connection ends after them, as always in HTTP/1.0."""
        headers = {**self.headers, "Content-Length": str(len(self.body)), "Date": date}
        if closing and version == "1.1":
            headers["Connection"] = "close"
        lines = [f"HTTP/{version} {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*lines, "", "")).encode() + self.body


_STATUS: Mapping[type[RejectedWebhook], tuple[int, dict[str, str]]] = {
    BadSignature: (401, {}),
    SecretUnknown: (503, {"Retry-After": "5"}),
    TooManyFailures: (429, {"Retry-After": "5"}),
    StoreUnavailable: (503, {"Retry-After": "1"}),
}

ACCEPTED = Response(200, {})
"""200 with an empty body: the event is durable."""


def rejected(error: RejectedWebhook, delay: float = 0.0) -> Response:
    """Return the response to a webhook that was not accepted, to be sent after `delay` seconds."""
    status, headers = _STATUS[type(error)]
    return _response(status, error.code, str(error), headers)._replace(delay=delay)


def is_final(error: RejectedWebhook) -> bool:
    """Return True if Linq does not send the webhook again after the response."""
    status, _ = _STATUS[type(error)]
    return status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS


def too_large() -> Response:
    """Return the response to a body over the limit; it closes the connection, whose rest was not read."""
    return _response(413, "too_large", f"the body is over {MAX_BODY} bytes", {"Connection": "close"})


def internal_error() -> Response:
    """Return the response after a bug of ours: 503, so that Linq retries."""
    return _response(503, "internal", "the relay could not handle this webhook", {"Retry-After": "5"})


def _response(status: int, code: str, message: str, headers: Mapping[str, str]) -> Response:
    body = to_json({"error": {"code": code, "message": message}})
    return Response(status, {"Content-Type": "application/json", **headers}, body)
