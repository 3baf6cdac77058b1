from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.delivery.token_bucket import TokenBucket
from tests.properties import quick


def test_idle_bucket_fills_to_one_second_of_rate() -> None:
    bucket = TokenBucket(10, now=0.0)
    assert bucket.available(0.0) == bucket.available(100.0) == 10


def test_tokens_refill_over_time() -> None:
    bucket = TokenBucket(10, now=0.0)
    for _ in range(10):
        bucket.take()
    assert bucket.available(0.0) == 0
    assert bucket.wait(0.0) == pytest.approx(0.1)
    assert (bucket.available(0.1), bucket.wait(0.1)) == (1, 0.0)
    assert bucket.available(0.55) == 5


def test_slow_rate_holds_a_single_token() -> None:
    bucket = TokenBucket(0.1, now=0.0)
    bucket.take()
    assert bucket.wait(0.0) == pytest.approx(10.0)
    assert [bucket.available(now) for now in (9.9, 10.0, 100.0)] == [0, 1, 1]


@quick
@given(st.floats(0.1, 1000), st.lists(st.floats(0, 2), max_size=50))
def test_rate_is_never_exceeded(rate: float, waits: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate, 0.0), 0.0, 0
    for wait in waits:
        now += wait
        for _ in range(bucket.available(now)):
            bucket.take()
            taken += 1
    assert taken <= max(rate, 1.0) + rate * now + 0.001
