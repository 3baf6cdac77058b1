"""What the ingress answers. One table from errors to HTTP.

A fault of ours is always 503: Linq tries again after 5xx, 429 and network errors for about 25 minutes, and takes every
other 4xx as final (https://docs.linqapp.com/guides/webhooks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from pydantic_core import to_json

from relay.core.errors import BadSignature, Refusal, SecretUnknown, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_BODY = 1024 * 1024
"""Bytes of a webhook's body; Linq documents no limit, its own plugins read up to 1 MB."""

_STATUS: Mapping[type[Refusal], tuple[int, dict[str, str]]] = {
    BadSignature: (401, {}),
    SecretUnknown: (503, {"Retry-After": "5"}),
    StoreUnavailable: (503, {"Retry-After": "1"}),
}


def accepted() -> web.Response:
    """200 with an empty body: the event is durable."""
    return web.Response()


def refused(error: Refusal) -> web.Response:
    """The answer for a webhook that was not accepted."""
    status, headers = _STATUS[type(error)]
    return _answer(status, error.code, str(error), headers)


def too_large() -> web.Response:
    """The answer for a body over the limit; the connection is closed, since the rest of it was not read."""
    return _answer(413, "too_large", f"the body is over {LARGEST_BODY} bytes", {"Connection": "close"})


def broken() -> web.Response:
    """The answer when we have a bug: 503, so that Linq tries again."""
    return _answer(503, "internal", "the relay could not handle this webhook", {"Retry-After": "5"})


def _answer(status: int, code: str, message: str, headers: Mapping[str, str]) -> web.Response:
    body = to_json({"error": {"code": code, "message": message}})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
