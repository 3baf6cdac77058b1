"""Rate limits of Linq's v3 API: the time that a 429 requests, which the SDK does not wait for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.core.delivery.outcome import retry_after_seconds

if TYPE_CHECKING:
    import linq

_DEFAULT_RETRY_AFTER = 5.0


def retry_after(error: linq.RateLimitError) -> float:
    """Return the seconds that Linq requests, in the body or in the header (https://docs.linqapp.com/error/codes/)."""
    detail = error.body if isinstance(error.body, dict) else {}
    seconds = detail.get("retry_after")
    if isinstance(seconds, (int, float)):
        return max(float(seconds), 0.0)
    headers = error.response.headers
    if (milliseconds := headers.get("retry-after-ms", "")).isdecimal():  # as the SDK takes it
        return float(milliseconds) / 1000
    seconds = retry_after_seconds(headers.get("Retry-After"), time.time())
    return _DEFAULT_RETRY_AFTER if seconds is None else seconds
