"""Middleware that injects the active faults into API calls: slow, failing, and answered wrongly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler, Middleware

    from relay.sandbox.faults.active import Faults
    from relay.sandbox.faults.models import ApiAnswer, ApiFailure

_PREFIX = "/api/partner"
_PROXY_PAGE = b"<html><body><h1>Service temporarily unavailable</h1></body></html>"


def fault_middleware(faults: Faults, error_of: Callable[[ApiFailure], Exception]) -> Middleware:
    """Delay and fail calls as `faults` demands; `error_of` builds the error in the format of the API."""

    @web.middleware
    async def inject_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
        effects = faults.effects_on_call(request.method, request.path.removeprefix(_PREFIX))
        if effects.delay:
            await asyncio.sleep(effects.delay)
        failure = effects.failure
        if failure is not None and not failure.after:
            raise error_of(failure)
        response = await handler(request)
        if failure is not None:
            raise error_of(failure)
        return response if effects.answer is None else wrong_answer(response, effects.answer)

    return inject_faults


def wrong_answer(response: web.StreamResponse, fault: ApiAnswer) -> web.StreamResponse:
    """Return the response as `fault` changes it; a response without a JSON object is returned unchanged."""
    text = response.body if isinstance(response, web.Response) else None
    if not isinstance(text, bytes) or not text.startswith(b"{"):
        return response
    if fault.answer == "html":
        return web.Response(body=_PROXY_PAGE, content_type="text/html")
    if fault.answer == "malformed":
        return web.Response(body=text[: len(text) // 2], content_type="application/json")
    fields = from_json(text)
    lists = {name: value for name, value in fields.items() if isinstance(value, list)}
    match fault.answer:
        case "short":
            fields |= {name: value[: len(value) // 2] for name, value in lists.items()}
        case "empty":
            fields |= {name: [] for name in lists} | ({"next_cursor": None} if "next_cursor" in fields else {})
        case "keyless":
            fields = {name: value for name, value in fields.items() if name not in lists}
    return web.Response(body=to_json(fields), content_type="application/json")
