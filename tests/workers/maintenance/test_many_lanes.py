"""The sweep of many lanes: what it creates together, and which lanes it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.config.file import ConfigFile
from relay.store.driver.client import ask
from relay.store.isolation import Isolation
from relay.store.lanes.many.look import look_at_lanes
from relay.store.lanes.position import ensure_lanes
from tests.building import SECRET
from tests.support import KEYS
from workers.maintenance import lane_sweep
from workers.maintenance.lane_sweep import LaneSweep

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relay.store.driver.client import Redis
    from relay.store.lanes.many.look import LaneLook, LanePlace
    from tests.support import Clock

TOPICS = 2
LANES = [f"bot-{number}" for number in range(6)]


class Looks:
    """The looks at lanes, each by the names of the lanes."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []
        self.during: Any = None
        """A coroutine function that is called after the reply and before it is used."""

    async def look(self, redis: Redis, places: Iterable[LanePlace], *, saves: bool = False) -> dict[str, LaneLook]:
        found = await look_at_lanes(redis, places, saves=saves)
        self.names.append(sorted(place.name for place in places))
        if self.during is not None:
            await self.during()
        return found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks = Looks()
    monkeypatch.setattr(lane_sweep, "look_at_lanes", looks.look)
    monkeypatch.setattr(lane_sweep, "_IN_TURN", 0)
    return looks


@pytest.fixture
def sweep(redis: Redis, tmp_path: Path, clock: Clock) -> LaneSweep:
    topics = (f'[[topics]]\nname = "t-{number}"\nevents = ["*"]\n' for number in range(TOPICS))
    lanes = (
        f'[[subscriptions]]\nname = "{name}"\ntopic = "t-{number % TOPICS}"\nurl = "http://x"\n'
        f'secret = "{SECRET.text}"\n'
        for number, name in enumerate(LANES)
    )
    (tmp_path / "relay.toml").write_text("".join((*topics, *lanes)))
    return LaneSweep(redis, ConfigFile(tmp_path / "relay.toml"), clock, Isolation(redis))


async def route(redis: Redis, topic: str = "t-0") -> None:
    await redis.xadd(KEYS.topic(topic), {"id": "e"})
    await ask(redis.hincrby(KEYS.counts, f"routed:{KEYS.topic(topic)}", 1))


async def test_lanes_of_a_first_start_are_created_together(
    redis: Redis, sweep: LaneSweep, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[list[str]] = []

    async def ensure(redis: Redis, places: Iterable[LanePlace]) -> Any:
        created.append([place.name for place in places])
        return await ensure_lanes(redis, places)

    monkeypatch.setattr(lane_sweep, "ensure_lanes", ensure)
    await sweep.run()
    assert [sorted(names) for names in created] == [LANES]
    assert {name.decode() for name in await ask(redis.smembers(KEYS.lanes))} == set(LANES)
    await sweep.run()
    assert (looks.names, len(created)) == ([LANES], 1), "all are at rest"


async def test_lanes_are_looked_at_again_once_their_topic_has_another_event(
    redis: Redis, sweep: LaneSweep, looks: Looks
) -> None:
    await sweep.run()
    await route(redis)
    for _ in range(2):
        await sweep.run()
    assert looks.names[1:] == [LANES[::2], LANES[::2]], "the event waits for them"


async def test_an_event_that_another_look_has_seen_meanwhile_is_not_forgotten(
    redis: Redis, sweep: LaneSweep, looks: Looks
) -> None:
    async def route_and_check() -> None:
        looks.during = None
        await route(redis)
        await sweep.check_partition(-1)

    looks.during = route_and_check
    await sweep.run()
    await sweep.run()
    assert looks.names == [LANES, LANES[::2]]


async def test_names_of_lanes_that_were_deleted_are_put_back(redis: Redis, sweep: LaneSweep) -> None:
    await sweep.run()
    await redis.delete(KEYS.lanes)
    await route(redis)
    await sweep.run()
    assert {name.decode() for name in await ask(redis.smembers(KEYS.lanes))} >= set(LANES[::2])
