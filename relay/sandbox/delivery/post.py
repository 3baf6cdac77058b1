"""A POST to a subscriber, and its result: delivered, retryable or final."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp

from relay.sandbox.state import Attempt, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 10.0
"""Seconds until the response must be complete (https://docs.linqapp.com/guides/webhooks)."""

_MAX_CONCURRENCY = 500  # a process has about 1,000 sockets; the timeout of a POST starts after this queue
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class PostResult:
    """The result of a POST."""

    attempt: Attempt
    is_ok: bool
    is_retryable: bool
    headers: Mapping[str, str]
    """The headers of the response."""


class Poster:
    """HTTP client with a limit on concurrent POSTs."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._semaphore = asyncio.Semaphore(_MAX_CONCURRENCY)

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> PostResult:
        """POST `body` and return the result; redirects are not followed."""
        async with self._semaphore:
            began, at = time.monotonic(), rfc3339(datetime.now(UTC))
            status, error, is_retryable = None, "", False
            response_headers: Mapping[str, str] = {}
            try:
                timeout = aiohttp.ClientTimeout(total=TIMEOUT, ceil_threshold=TIMEOUT)  # not rounded up
                async with self._session.post(
                    url, data=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as response:
                    status, response_headers = response.status, response.headers
                    is_retryable = status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR
                    await response.read()
            except (aiohttp.ClientConnectorDNSError, ValueError) as cause:
                error = str(cause)  # an unknown host or an invalid header: a retry cannot succeed
            except (TimeoutError, aiohttp.ClientError, OSError) as cause:
                error, is_retryable = str(cause) or type(cause).__name__, is_retryable or status is None
            attempt = Attempt(at, round((time.monotonic() - began) * 1000), status, error)
            return PostResult(attempt, status is not None and 200 <= status < 300, is_retryable, response_headers)
