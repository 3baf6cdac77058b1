"""The POST of an event to this machine, with the headers and the signatures of a push delivery."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from relay import __version__
from relay.core.delivery.outcome import Outcome, outcome_of_status
from relay.linq.signatures import v3_legacy
from relay.store.topics.push_headers import attempt_headers, in_shape, signature_headers

if TYPE_CHECKING:
    from relay.core.secret import SigningSecret
    from relay.store.topics.record import Record

SUBSCRIPTION = "relay-listen"
"""The name in the header that names the subscription."""
_MAX_KEPT = 1024  # bytes of a response


@dataclass(frozen=True, slots=True)
class Sent:
    """A POST and its outcome."""

    outcome: Outcome
    status: int | None
    took_ms: int
    detail: str = ""
    """The beginning of the response, or the error."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The destination on this machine."""

    http: aiohttp.ClientSession
    url: URL
    secret: SigningSecret
    topic: str
    timeout: float
    """Seconds for one POST."""
    shape: str | None = None
    """The version of Linq's payloads in which events are sent; None for that in which they came."""

    async def post(self, record: Record, number: int) -> Sent:
        """POST an event for the time `number` (from 1)."""
        shape = None
        if self.shape is not None:
            record, shape = in_shape(record, self.shape)
        headers = {
            "User-Agent": f"linq-relay/{__version__}",
            "Content-Type": "application/json",
            v3_legacy.SUBSCRIPTION_ID: SUBSCRIPTION,
            **attempt_headers(record, self.topic, number, is_replay=number > 1, shape=shape),
            **signature_headers([self.secret], record, int(time.time())),
        }
        began = time.perf_counter()
        status: int | None = None
        try:
            timeout = aiohttp.ClientTimeout(total=self.timeout)
            async with self.http.post(
                self.url, data=record.body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                status = response.status
                outcome = outcome_of_status(status)
                answer = await response.content.read(_MAX_KEPT)
                detail = "" if outcome is Outcome.DELIVERED else answer.decode(errors="replace")
        except TimeoutError:
            outcome, detail = Outcome.TIMED_OUT, f"no response within {self.timeout:g} s"
        except aiohttp.ClientConnectorError as error:
            outcome = Outcome.UNREACHABLE
            detail = f"nothing listens at {self.url.host}:{self.url.port} ({error.strerror or error})"
        except aiohttp.ClientError as error:
            outcome, detail = Outcome.UNREACHABLE, str(error) or type(error).__name__
        return Sent(outcome, status, round((time.perf_counter() - began) * 1000), detail)
