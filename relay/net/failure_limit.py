"""Budget of failed requests: for each address, and for all together.

A request that cannot be verified may make the ingress read the keyring again and wait for it. Within the budget it
does, so that a webhook whose secret was stored a moment ago is accepted. Beyond the budget a failed request costs one
signature and a late 429, whatever its sender does. The budget is taken only by a request that has failed for good: a
valid webhook takes none, also one of a new secret, for which the keyring is read again, and one from an address that
floods, such as that of a load balancer.

An IPv6 host has a whole /64 network (RFC 4291), so that is the address. The table is bounded: a flood from more
addresses than it holds forgets the oldest, and the common budget bounds them together.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_HOST_BITS = 64


class Budget(NamedTuple):
    """Rate of a token bucket."""

    rate: float
    """Failures a second."""
    burst: float
    """Failures at once after a quiet time."""


EACH = Budget(rate=20, burst=100)
ALL = Budget(rate=200, burst=400)
MAX_ADDRESSES = 4096


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float

    def has_room(self, budget: Budget, now: float) -> bool:
        self.left = min(budget.burst, self.left + max(0.0, now - self.at) * budget.rate)  # a clock can be set back
        self.at = now
        return self.left >= 1

    def take(self, budget: Budget, now: float) -> bool:
        if not self.has_room(budget, now):
            return False
        self.left -= 1
        return True


class FailureLimit:
    """The budgets, and the delay of what exceeds them."""

    def __init__(
        self,
        delay: float,
        clock: Callable[[], float],
        rng: random.Random | None = None,
        *,
        each: Budget = EACH,
        all_together: Budget = ALL,
    ) -> None:
        """`delay` is the mean delay of a refusal beyond the budget, seconds; `clock` returns seconds."""
        self._delay = delay
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  it only spreads the delays
        self._each, self._all = each, all_together
        self._common = _Bucket(all_together.burst, clock())
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, address: str | None) -> bool:
        """Take a failed request of `address` from the budgets; return False if one is used up."""
        now, key = self._clock(), _network(address or "")
        bucket = self._buckets.pop(key, None) or _Bucket(self._each.burst, now)
        self._buckets[key] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket.take(self._each, now) and self._common.take(self._all, now)

    def has_room(self, address: str | None) -> bool:
        """Return True if a failed request of `address` is within the budgets; it is not taken from them."""
        now, bucket = self._clock(), self._buckets.get(_network(address or ""))
        return (bucket is None or bucket.has_room(self._each, now)) and self._common.has_room(self._all, now)

    def delay(self) -> float:
        """Return seconds to wait before a refusal beyond the budget; spread, so that senders do not return at once."""
        return self._delay * self._rng.uniform(0.5, 1.5)


@lru_cache(maxsize=MAX_ADDRESSES)
def _network(text: str) -> str:
    """Return the address, or the network of an IPv6 one; a dual-stack socket shows IPv4 addresses as IPv6."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if isinstance(address, IPv4Address):
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> _HOST_BITS:x}"
