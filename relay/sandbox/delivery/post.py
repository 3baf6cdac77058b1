"""One POST to a subscriber, and what its answer means."""

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
"""Seconds for an answer (https://docs.linqapp.com/guides/webhooks)."""

_MAX_AT_ONCE = 500  # a process has about a thousand sockets; what waits here has not begun its ten seconds
_TOO_MANY = 429
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a POST."""

    attempt: Attempt
    is_ok: bool
    can_try_again: bool
    headers: Mapping[str, str]


class Poster:
    """Posts, many at once."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """Posts `body`; follows no redirect."""
        async with self._slots:
            began, at = time.monotonic(), rfc3339(datetime.now(UTC))
            status, error, again = None, "", False
            answered: Mapping[str, str] = {}
            try:
                timeout = aiohttp.ClientTimeout(total=TIMEOUT, ceil_threshold=TIMEOUT)  # not rounded up
                async with self._session.post(
                    url, data=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as answer:
                    status, answered = answer.status, answer.headers
                    again = status == _TOO_MANY or status >= _SERVER_ERROR
                    await answer.read()
            except (aiohttp.ClientConnectorDNSError, ValueError) as trouble:
                error = str(trouble)  # a name or a header that cannot be: trying again would not help
            except (TimeoutError, aiohttp.ClientError, OSError) as trouble:
                error, again = str(trouble) or type(trouble).__name__, again or status is None
            attempt = Attempt(at, round((time.monotonic() - began) * 1000), status, error)
            return Answer(attempt, status is not None and 200 <= status < 300, again, answered)
