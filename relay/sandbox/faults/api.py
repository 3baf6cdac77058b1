"""How the faults that are in force reach calls of the API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler, Middleware

    from relay.sandbox.faults.active import Faults
    from relay.sandbox.faults.models import ApiFailure

_PREFIX = "/api/partner"


def fault_middleware(faults: Faults, error_of: Callable[[ApiFailure], Exception]) -> Middleware:
    """Slows calls down and fails them as `faults` says; `error_of` gives the API's own error."""

    @web.middleware
    async def suffer(request: web.Request, handler: Handler) -> web.StreamResponse:
        trouble = faults.for_call(request.method, request.path.removeprefix(_PREFIX))
        if trouble.seconds:
            await asyncio.sleep(trouble.seconds)
        failure = trouble.failure
        if failure is not None and not failure.after:
            raise error_of(failure)
        answer = await handler(request)
        if failure is not None:
            raise error_of(failure)
        return answer

    return suffer
