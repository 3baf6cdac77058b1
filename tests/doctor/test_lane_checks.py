from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from relay.core.breaker import Trip
from relay.core.config import parse_config
from relay.doctor.finding import State
from relay.doctor.lane_checks import examine_destinations, examine_lanes
from relay.listening import listening
from relay.settings import Listen
from relay.store.holds import Holds
from relay.store.lanes import Lane
from tests.core.writing import subscription_with
from tests.journeys.conftest import free_port

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def test_destinations_that_can_be_reached_and_those_that_cannot() -> None:
    async with listening(web.Application(), Listen(host="127.0.0.1", port=0)) as port:
        urls = (f"http://127.0.0.1:{port}/in", f"http://127.0.0.1:{free_port()}", f"https://127.0.0.1:{port}")
        subscriptions = [parse_config(subscription_with(url=f'"{url}"')).subscriptions[0] for url in urls]
        good, refused, no_tls = await examine_destinations(subscriptions)
    assert (good.state, refused.state, no_tls.state) == (State.OK, State.PROBLEM, State.PROBLEM)
    assert "cannot be reached" in refused.what


async def test_what_keeps_lanes_is_said(redis: Redis) -> None:
    config = parse_config(
        subscription_with(name='"paused"')
        + "".join(
            f'\n[[subscriptions]]\nname = "{name}"\ntopic = "t"\nurl = "https://a.b"\nsecret = "env:S"'
            for name in ("down", "fine")
        )
    )
    for name in ("paused", "down", "fine", "former"):
        await Lane(redis, name, "t").ensure()
    await Holds(redis).pause("paused", "it answered 410", 1)
    await Holds(redis).save_trip("down", Trip(1, 2, 3, "timed_out: "))
    found = {one.area.removeprefix("subscription "): one for one in await examine_lanes(redis, config)}
    assert {name: one.state for name, one in found.items()} == {
        "paused": State.WARNING,
        "down": State.PROBLEM,
        "former": State.WARNING,
    }
    assert found["paused"].remedy == "relay lanes resume paused"
