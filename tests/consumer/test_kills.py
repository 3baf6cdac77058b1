from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.consumer.stage import KINDS, STREAM, dead_letters, feed, none_pending, run_member, take

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

IDS = tuple(map(str, range(12)))

STEPS = [("XREADGROUP", "after"), ("XACK", "before"), ("XACK", "after"), ("XCLAIM", "before"), ("XCLAIM", "after")]
"""It reads, acknowledges, and hands back what it did not begin."""
HANDLED = STEPS[2:]
"""Steps before which the events are acknowledged that were begun."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("die", "when"), STEPS)
async def test_killed_member_loses_no_event(redis: Redis, redis_url: str, kind: str, die: str, when: str) -> None:
    await feed(redis, *IDS)
    ended = await run_member(redis_url, kind, member="first", die=die, when=when, count=3)
    assert ended.code == -signal.SIGKILL
    acknowledged = len({event.id for event in ended.begun}) if (die, when) in HANDLED else 0
    rest = [event.id for event in await take(kind, redis_url, 12 - acknowledged, member="second", claim_after=0.3)]
    assert sorted(rest, key=int) == list(IDS[acknowledged:])
    assert await none_pending(redis)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_member_killed_at_a_dead_letter(redis: Redis, redis_url: str, when: str) -> None:
    await feed(redis, *IDS)
    for _ in range(2):
        ended = await run_member(redis_url, member="m", raises="0", count=1, max_deliveries=3)
        assert ended.code == 1
    ended = await run_member(redis_url, member="m", raises="0", die="XADD", when=when, max_deliveries=3)
    assert ended.code == -signal.SIGKILL
    taken = await take("async", redis_url, 11, member="m", max_deliveries=3)
    assert [event.id for event in taken] == list(IDS[1:])
    assert [(letter["id"], letter["dead_deliveries"]) for letter in await dead_letters(redis)] == [("0", "3")]


@pytest.mark.parametrize("concurrency", [0, 4])
async def test_poison_becomes_a_dead_letter_alone(redis: Redis, redis_url: str, concurrency: int) -> None:
    await feed(redis, *IDS)
    begun: Counter[str] = Counter()
    for _ in range(8):
        ended = await run_member(
            redis_url, member="m", poison="3", max_deliveries=4, count=12 - len(begun), concurrency=concurrency
        )
        begun.update(event.id for event in ended.begun)
        if ended.code == 0:
            break
    assert ended.code == 0
    assert [(letter["id"], letter["dead_reason"]) for letter in await dead_letters(redis)] == [("3", "max_deliveries")]
    assert begun.pop("3") == 4
    assert set(begun) == set(IDS) - {"3"}
    assert max(begun.values()) <= 3
    assert await none_pending(redis)


async def test_events_handed_back_were_not_delivered(redis: Redis, redis_url: str) -> None:
    await feed(redis, *IDS)
    assert (await run_member(redis_url, count=2)).begun == [("0", 1), ("1", 1)]
    assert (await run_member(redis_url, raises="3")).begun == [("2", 1), ("3", 1)]
    assert (await run_member(redis_url, count=3)).begun == [("3", 2), ("4", 1), ("5", 1)]
    rows = await redis.xpending_range(STREAM, "g", "-", "+", 20)
    assert {(row["consumer"], row["times_delivered"]) for row in rows} == {(b"relay:returned", 0)}
