"""Rate limits of the API: requests a second of each token and of each team's tokens together, counted in this process.

A team makes tokens itself, so the number of its tokens must not be a way to send more.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from relay.core.delivery.token_bucket import TokenBucket
from relay.web.api.problems import ApiProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.access.principal import Principal

OF_TEAM = 4
"""The rate of a team, in rates of a token."""
_MAX_BUCKETS = 4096


class Rates:
    """The rates of the tokens and teams."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        """`rate` is requests a second, of each token; `clock` returns seconds."""
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()

    def take(self, principal: Principal) -> None:
        """Count a request of a token.

        Raises:
            ApiProblem: it is one too many.
        """
        now = self._clock()
        buckets = [self._bucket(("token", principal.token or principal.name), self._rate, now)]
        if principal.team is not None:
            buckets.append(self._bucket(("team", principal.team), self._rate * OF_TEAM, now))
        waits = [bucket.wait(now) for bucket in buckets]
        if waits[0]:
            raise ApiProblem(429, f"a token may send {self._rate:g} requests a second", retry_after=waits[0])
        if wait := max(waits):
            together = f"the tokens of a team may send {self._rate * OF_TEAM:g} requests a second together"
            raise ApiProblem(429, together, retry_after=wait)
        for bucket in buckets:
            bucket.take()

    def _bucket(self, holder: tuple[str, str], rate: float, now: float) -> TokenBucket:
        bucket = self._buckets.pop(holder, None) or TokenBucket(rate, now)
        self._buckets[holder] = bucket
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return bucket
