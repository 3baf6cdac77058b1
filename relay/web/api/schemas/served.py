"""The AsyncAPI document at the API; made in a thread when it is first asked for, since that takes some seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from relay.core.lazy_modules import LazyModule
from relay.web.api.operation import JSON

if TYPE_CHECKING:
    from relay.web.api.schemas import asyncapi
else:
    asyncapi = LazyModule("relay.web.api.schemas.asyncapi")  # all models of Linq's SDK


def add_asyncapi(app: web.Application) -> None:
    """Add the document to the application of the API; however many ask for it, it is made once."""
    making: list[asyncio.Task[bytes]] = []

    async def serve(_: web.Request) -> web.Response:
        if not making:
            making.append(asyncio.ensure_future(asyncio.to_thread(_document)))
        return web.Response(body=await asyncio.shield(making[0]), content_type=JSON)

    app.router.add_get("/asyncapi.json", serve)


def _document() -> bytes:
    return asyncapi.asyncapi_text().encode()
