"""Middleware that injects the active faults into API calls."""

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
        return response

    return inject_faults
