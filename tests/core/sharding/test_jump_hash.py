"""The hash agrees with the paper's, which other implementations are tested with, and moves no more than it must."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.sharding.jump_hash import jump_hash
from tests.properties import quick

keys = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("key", "buckets", "bucket"),
    [
        (1, 1, 0),
        (42, 57, 43),
        (0xDEAD10CC, 1, 0),
        (0xDEAD10CC, 666, 361),
        (256, 1024, 520),
        (128, 2**31, 1644467860),
        (2**64 - 1, 128, 92),
    ],
)
def test_buckets_are_those_of_other_implementations(key: int, buckets: int, bucket: int) -> None:
    assert jump_hash(key, buckets) == bucket


@quick
@given(keys, st.integers(1, 500), st.integers(1, 500))
def test_key_stays_or_goes_to_a_new_bucket(key: int, buckets: int, more: int) -> None:
    before, after = jump_hash(key, buckets), jump_hash(key, buckets + more)
    assert 0 <= before < buckets
    assert after == before or buckets <= after < buckets + more
