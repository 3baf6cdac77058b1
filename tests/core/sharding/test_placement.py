from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.sharding.placement import ShardKey, shard_of
from tests.properties import any_text, quick

texts = st.none() | any_text


@pytest.mark.parametrize(
    ("key", "shards"),
    [
        (ShardKey("e1", "5d1c7e0a-3b52-4c8e-9a41-0f6b7d2e8c11"), [0, 1, 1, 1, 1]),
        (ShardKey("e1", "771204"), [0, 1, 1, 1, 4]),
        (ShardKey("e1", None, "+16465550123"), [0, 1, 1, 3, 4]),
        (ShardKey("e1"), [0, 0, 0, 3, 5]),
    ],
)
def test_shards_never_change(key: ShardKey, shards: list[int]) -> None:
    """They say where events are; with another result, events of a chat would be on two shards."""
    assert [shard_of(key, count) for count in (1, 2, 3, 4, 8)] == shards


@quick
@given(any_text, any_text, any_text, texts, st.integers(1, 64))
def test_chat_alone_decides_where_there_is_one(chat: str, first: str, second: str, number: str | None, n: int) -> None:
    chat = chat or "C"
    shard = shard_of(ShardKey(first, chat, number), n)
    assert shard == shard_of(ShardKey(second, chat), n)
    assert 0 <= shard < n


@quick
@given(any_text, any_text, st.integers(1, 64))
def test_number_decides_where_there_is_no_chat(first: str, second: str, shards: int) -> None:
    number = "+16465550123"
    assert shard_of(ShardKey(first, None, number), shards) == shard_of(ShardKey(second, "", number), shards)


@pytest.mark.parametrize("shards", [2, 3, 4, 8, 16])
def test_chats_are_spread_evenly(shards: int) -> None:
    counts = Counter(shard_of(ShardKey("e1", f"chat-{number}"), shards) for number in range(shards * 1000))
    assert len(counts) == shards
    assert all(900 < count < 1100 for count in counts.values())
