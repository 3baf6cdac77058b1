"""Clients of Linq's official SDK."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import linq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def open_sdk(api_key: str, base_url: str) -> AsyncIterator[linq.AsyncLinqAPIV3]:
    """Open the SDK's client, whose own retries of 429 are off."""
    http = linq.DefaultAsyncHttpxClient(event_hooks={"response": [_disable_sdk_retry_of_429]})
    async with linq.AsyncLinqAPIV3(api_key=api_key, base_url=base_url, http_client=http) as client:
        yield client


async def _disable_sdk_retry_of_429(response: Any) -> None:
    """Keep the SDK from retrying a 429, with a header that it defines (`x-should-retry`)."""
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        response.headers["x-should-retry"] = "false"
