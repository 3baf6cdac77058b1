"""A relay grows under load while `relay shards apply`, an ingress and the workers are killed: no event is lost.

On a plain Redis; with `--cluster` on a Redis Cluster (`tests.on_cluster`).
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter, defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

import aiohttp
import pytest

from relay.core.sharding.placement import ShardKey, shard_of
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import open_shards
from tests.journeys.growing import Deliveries, Fleet, Traffic, pulling, store_secrets
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.journeys.conftest import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),  # seconds, also on a busy machine
    pytest.mark.one_shard("it grows to four shards from one and from two"),
]

TARGET = 4
BEFORE_THE_SWITCH = ("before the copies", "between two copies", "before the decision")


@pytest.fixture
def shard_count() -> int:
    return TARGET


@pytest.mark.parametrize(
    ("former", "last_kill", "of_worker"),
    [(1, "after the decision", "between the last copies"), (2, "after the first fence", "before the end")],
)
async def test_growth_under_load_loses_nothing_and_keeps_the_order(
    service: Service, former: int, last_kill: str, of_worker: str
) -> None:
    rules = service.rules.read_text()
    service.rules.write_text(rules.replace('name = "bot"', 'name = "bot"\nordered = "chat"\nconcurrency = 8'))
    delivered = Deliveries()
    service.sink.answer = delivered.answer
    fleet = Fleet(service, (reserve_port(), reserve_port()), former)
    await store_secrets(service)
    await fleet.start_all()
    async with pulling(service.redis.url, "everything") as pulled, aiohttp.ClientSession() as http:
        traffic = Traffic(fleet.ports, http, delivered.by_chat)
        sending = asyncio.create_task(traffic.run())
        await eventually(lambda: len(delivered.by_path["/bot"]) > 40, timeout=60)
        await grow_and_kill(service, fleet, last_kill)
        await fleet.replace_the_workers(of_worker)
        await eventually(lambda: is_done(service), timeout=120)
        count = traffic.count
        await eventually(lambda: traffic.count > count + 60, timeout=120)
        traffic.is_over = True
        await sending
        everything = {event_id for ids in traffic.sent.values() for event_id in ids}
        for path in ("/bot", "/crm"):
            await eventually(lambda path=path: everything == set(delivered.by_path[path]), timeout=120)  # type: ignore[misc]
        await eventually(lambda: len(pulled) >= len(everything), timeout=120)
    assert Counter(pulled) == Counter(everything)
    assert delivered.refused
    # What a killed worker had in flight comes again, before what follows it in its chat.
    assert {chat: [event for event, _ in groupby(ids)] for chat, ids in delivered.by_chat.items()} == traffic.sent
    assert set(traffic.refused) <= {503}
    assert "CROSSSLOT" not in service.log.read_text()
    await check_the_books(service, len(everything))
    await check_places(service, traffic.sent, former)


async def grow_and_kill(service: Service, fleet: Fleet, last_kill: str) -> None:
    """Prepare the growth; kill `relay shards apply` while it waits and at one step after the other, and run it no more.

    Before the last kill an ingress is killed, which is replaced, and the workers, which are not yet.
    """
    await service.run("shards", "prepare", str(TARGET))
    waiting = await service.start("shards", "apply")
    await eventually(lambda: f"not restarted with RELAY_SHARDS={TARGET}" in service.log.read_text())
    waiting.kill()
    await fleet.replace_all(TARGET)
    for step in BEFORE_THE_SWITCH:
        await kill_at(service, step)
        assert (await growth_of(service))["phase"] == "noted"
    await fleet.kill_an_ingress()
    await fleet.kill_the_workers()
    await kill_at(service, last_kill)
    assert (await growth_of(service))["decided_ms"]


async def kill_at(service: Service, step: str) -> None:
    process = await service.start(step, "relay", "shards", "apply", module="tests.journeys.dying")
    assert await process.wait() == -signal.SIGKILL


async def growth_of(service: Service) -> dict[str, object]:
    growth: dict[str, object] = json.loads(await service.run("shards", "--json"))["growth"]
    return growth


async def is_done(service: Service) -> bool:
    return (await growth_of(service))["phase"] == "done"


async def check_the_books(service: Service, count: int) -> None:
    async def balanced() -> str | None:
        text = await service.run("ledger", "--json", code=None)
        ledger = json.loads(text)
        is_quiet = not any(row["waiting"] or row["retrying"] for row in ledger["subscriptions"])
        return text if ledger["balances"] and is_quiet and not ledger["totals"]["inbox"] else None

    ledger = json.loads(await eventually(balanced, timeout=120))
    assert ledger["totals"]["accepted"] == ledger["totals"]["routed"] == count
    for row in ledger["subscriptions"]:
        assert (row["routed"], row["delivered"], row["dead"], row["lost"]) == (count, count, 0, 0)


async def check_places(service: Service, sent: dict[str, list[str]], former: int) -> None:
    """Check that each event is once on one shard: that of its chat by the former number, after the switch by four."""
    places: dict[str, list[int]] = defaultdict(list)
    async with open_shards(service.redis.url, WORKER_TIMEOUT, count=TARGET) as shards:
        for number, shard in enumerate(shards.all):
            for _, fields in await shard.xrange(shard.key.topic("everything")):
                places[fields[b"id"].decode()].append(number)
    moved = [was_moved([places[event_id] for event_id in ids], chat, former) for chat, ids in sent.items()]
    assert any(moved)


def was_moved(places: Sequence[list[int]], chat: str, former: int) -> bool:
    """Return True if a chat has events on both its shards; fail if one is on none, on several or on a wrong one."""
    before, after = (shard_of(ShardKey("", chat), number) for number in (former, TARGET))
    numbers = [number for [number] in places]
    assert numbers == sorted(numbers, key=(before, after).index)
    assert numbers[-1] == after
    return before != after and numbers[0] == before
