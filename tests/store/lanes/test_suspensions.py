from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.delivery.circuit_breaker import Trip
from relay.store.lanes.suspensions import Holds, Pause

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def test_a_pause_keeps_its_first_reason_until_it_is_lifted(redis: Redis) -> None:
    holds = Holds(redis)
    assert await holds.pause("bot", "410", 5)
    assert not await holds.pause("bot", "again", 6)
    assert await holds.pauses() == {"bot": Pause(5, "410")}
    assert await holds.resume("bot")
    assert not await holds.resume("bot")
    assert await holds.pauses() == {}


async def test_a_breaker_is_kept_until_it_is_closed(redis: Redis) -> None:
    holds, trip = Holds(redis), Trip(1, 2, 3, "failed: 500")
    await holds.save_trip("bot", trip)
    assert (await holds.trip("bot"), await holds.trip("crm")) == (trip, None)
    assert await holds.trips() == {"bot": trip}
    await holds.save_trip("bot", None)
    assert await holds.trips() == {}
