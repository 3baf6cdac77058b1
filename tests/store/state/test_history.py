"""The history by the minute: once a minute, bounded, with the counters as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.driver.client import ask
from relay.store.lanes.lane import Lane
from relay.store.ledger.kept import KeptStates
from relay.store.state.history import MINUTE_MS, increases, last_hour, record_minute

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

MINUTE = 29_822_955 * MINUTE_MS


async def test_a_minute_has_the_counters_once(redis: Redis) -> None:
    kept = KeptStates(redis)
    await Lane(redis, "bot", "support").ensure()
    counts = {"accepted": 7, "routed": 5, f"routed:{redis.key.topic('support')}": 4}
    await ask(redis.hset(redis.key.counts, mapping=counts))
    await ask(redis.hset(redis.key.refused, mapping={"bad_signature": 2}))
    await ask(redis.hset(redis.key.lane("bot"), mapping={"delivered": 3}))
    assert await record_minute(redis, MINUTE + 100, kept)
    assert not await record_minute(redis, MINUTE + 59_000, kept)
    await ask(redis.hset(redis.key.counts, mapping={"accepted": 67}))
    assert await record_minute(redis, MINUTE + MINUTE_MS, kept)
    (first, second), lanes = await last_hour(redis, MINUTE + MINUTE_MS + 1)
    assert (first.at_ms, first.accepted, first.routed, first.refused, first.delivered) == (MINUTE, 7, 5, 2, 3)
    assert dict(first.topics) == {"support": 4}
    assert second.accepted == 67
    assert [lane.delivered for lane in lanes] == [{"bot": 3}, {"bot": 3}]


async def test_the_history_is_bounded(redis: Redis) -> None:
    kept = KeptStates(redis)
    for minute in range(70):
        await record_minute(redis, MINUTE + minute * MINUTE_MS, kept)
    assert await redis.xlen(redis.key.history) == 65
    assert await redis.xlen(redis.key.history_lanes) == 10
    minutes, _ = await last_hour(redis, MINUTE + 200 * MINUTE_MS)
    assert not minutes  # old ones are not shown as if they were of this hour


def test_a_counter_that_was_reset_has_no_negative_rate() -> None:
    assert increases([(0, 10), (1000, 30), (3000, 5)]) == [(1000, 20.0), (3000, 0.0)]
