"""Rate limit of the API: requests a second of each token, counted in this process."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from relay.core.delivery.token_bucket import TokenBucket
from relay.web.api.problems import ApiProblem

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_TOKENS = 4096


class Rates:
    """The rates of the tokens."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        """`rate` is requests a second, of each token; `clock` returns seconds."""
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, token: str) -> None:
        """Count a request of a token.

        Raises:
            ApiProblem: it is one too many.
        """
        now = self._clock()
        bucket = self._buckets.pop(token, None) or TokenBucket(self._rate, now)
        self._buckets[token] = bucket
        if len(self._buckets) > _MAX_TOKENS:
            self._buckets.popitem(last=False)
        if wait := bucket.wait(now):
            raise ApiProblem(429, f"a token may send {self._rate:g} requests a second", retry_after=wait)
        bucket.take()
