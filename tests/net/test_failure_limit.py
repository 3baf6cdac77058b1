from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from relay.net.failure_limit import MAX_ADDRESSES, Budget, FailureLimit

if TYPE_CHECKING:
    from tests.support import Clock

EACH, ALL = Budget(rate=2, burst=3), Budget(rate=10, burst=8)


@pytest.fixture
def limit(clock: Clock) -> FailureLimit:
    return FailureLimit(2.0, clock, random.Random(1), each=EACH, all_together=ALL)


def taken(limit: FailureLimit, address: str | None, times: int = 20) -> int:
    return sum(limit.take(address) for _ in range(times))


def test_address_has_a_burst_and_a_rate(limit: FailureLimit, clock: Clock) -> None:
    assert taken(limit, "192.0.2.1") == 3
    clock.now += 1
    assert taken(limit, "192.0.2.1") == 2
    clock.now += 3600
    assert taken(limit, "192.0.2.1") == 3
    clock.now -= 3600
    assert taken(limit, "192.0.2.1") == 0
    clock.now += 3601
    assert taken(limit, "192.0.2.1") == 3


def test_addresses_share_a_common_budget(limit: FailureLimit, clock: Clock) -> None:
    assert [taken(limit, f"192.0.2.{number}") for number in range(4)] == [3, 3, 2, 0]
    clock.now += 1
    assert sum(taken(limit, f"192.0.2.{number}") for number in range(50)) == 8


def test_flood_of_an_address_leaves_the_common_budget_to_others(limit: FailureLimit) -> None:
    assert taken(limit, "192.0.2.1", 1000) == 3
    assert taken(limit, "192.0.2.2") == 3


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        (None, "", True),
    ],
)
def test_ipv6_network_is_an_address(limit: FailureLimit, one: str | None, other: str, are_one: object) -> None:
    assert taken(limit, one) == 3
    assert taken(limit, other) == (0 if are_one else 3)


def test_number_of_remembered_addresses_is_bounded(clock: Clock) -> None:
    limit = FailureLimit(2.0, clock, all_together=Budget(0, 10**9), each=Budget(0, 1))
    for number in range(MAX_ADDRESSES + 1):
        assert limit.take(f"10.0.{number >> 8}.{number & 255}")
    assert not limit.take("10.0.0.1")
    assert limit.take("10.0.0.0")  # the oldest was forgotten


def test_delays_are_spread(limit: FailureLimit) -> None:
    delays = [limit.delay() for _ in range(200)]
    assert 1.0 <= min(delays) < 1.2
    assert 2.8 < max(delays) <= 3.0
