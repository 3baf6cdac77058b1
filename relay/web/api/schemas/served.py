"""The AsyncAPI document at the API; made in a thread when it is first asked for, since that takes some seconds."""

from __future__ import annotations

import asyncio

from aiohttp import web

from relay.web.api.operation import JSON


def add_asyncapi(app: web.Application) -> None:
    """Add the document to the application of the API; however many ask for it, it is made once."""
    making: list[asyncio.Task[bytes]] = []

    async def asyncapi(_: web.Request) -> web.Response:
        if not making:
            making.append(asyncio.ensure_future(asyncio.to_thread(_document)))
        return web.Response(body=await asyncio.shield(making[0]), content_type=JSON)

    app.router.add_get("/asyncapi.json", asyncapi)


def _document() -> bytes:
    from relay.web.api.schemas.asyncapi import asyncapi_text  # noqa: PLC0415  all models of Linq's SDK

    return asyncapi_text().encode()
