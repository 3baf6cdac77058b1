from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.delivery.circuit_breaker import OpenBreaker
from relay.store.driver.client import ask
from relay.store.lanes.attempts.log import health_of, save_last_successes
from relay.store.lanes.suspensions import Pause, Suspensions
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


async def test_pause_keeps_its_first_reason_until_resumed(redis: Redis) -> None:
    holds = Suspensions(redis)
    assert await holds.pause("bot", "410", 5)
    assert not await holds.pause("bot", "again", 6)
    assert await holds.pauses() == {"bot": Pause(5, "410")}
    assert await holds.resume("bot")
    assert not await holds.resume("bot")
    assert await holds.pauses() == {}


async def test_breaker_is_stored_until_it_is_closed(redis: Redis) -> None:
    holds, trip = Suspensions(redis), OpenBreaker(1, 2, 3, "failed: 500")
    await holds.save_open_breaker("bot", trip)
    assert (await holds.open_breaker("bot"), await holds.open_breaker("crm")) == (trip, None)
    assert await holds.open_breakers() == {"bot": trip}
    await holds.save_open_breaker("bot", None)
    assert await holds.open_breakers() == {}


async def test_damaged_record_concerns_its_lane_only(redis: Redis) -> None:
    holds, trip = Suspensions(redis), OpenBreaker(1, 2, 3, "failed: 500")
    await holds.pause("bot", "410", 5)
    await holds.save_open_breaker("bot", trip)
    for key in (KEYS.paused, KEYS.breakers):
        await ask(redis.hset(key, "crm", "{not ours"))
    pauses = await holds.pauses()
    assert (pauses["bot"].reason, "damaged" in pauses["crm"].reason) == ("410", True)
    assert await holds.open_breakers() == {"bot": trip}


async def test_open_breaker_is_stored_at_maxmemory(redis: Redis) -> None:
    await redis.config_set("maxmemory", "1mb")
    try:
        await Suspensions(redis).save_open_breaker("bot", OpenBreaker(1, 2, 3, "failed: 500"))
        await save_last_successes(redis, {"bot": 5})
    finally:
        await redis.config_set("maxmemory", 0)
    assert (await health_of(redis, "bot")).last_success_ms == 5
