"""The watch over contracts: what the router could read is counted in Redis, and a change is noticed within events."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from relay.contracts.facts import Pair
from relay.contracts.learning import ENOUGH
from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.sandbox.payloads import NEW, Scenario, data_of, envelope
from relay.store.contracts import contracts as store
from relay.store.contracts.contracts import Contracts
from tests.building import LINE, webhook_of
from tests.support import eventually
from tests.workers.conftest import accept, emptied, routing
from workers.routing.contract_watch import ContractWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from relay.config.file import ConfigFile
    from relay.contracts.learning import Contract
    from relay.core.event import Event
    from relay.store.driver.client import Redis

RECEIVED = Pair("message.received", NEW)
ALERTS = ("contract.fact_lost", "contract.new")


def event_of(event_type: str = RECEIVED.type, version: str = NEW, *, moved: bool = False) -> tuple[Event, bytes]:
    """Return an event of the sandbox and its body; one that was `moved` has its chat where the relay does not look."""
    scenario = Scenario(line=LINE)
    data = data_of("message.received", scenario, NEW)
    if moved:
        data["conversation"] = data.pop("chat")
    body = envelope(event_type, scenario.message_id, data, version, scenario.occurred_at)
    return decode(Dialect.V3, body, None).event, body


async def watched(redis: Redis, *batches: Sequence[tuple[Event, bytes]]) -> list[dict[str, Any]]:
    """Let a new watch store each batch; return the alarms."""
    watch = ContractWatch(redis, time.time)
    with capture_logs() as logs:
        for batch in batches:
            watch.add(batch)
            await watch.store()
    return [dict(line) for line in logs if line["event"] in ALERTS]


async def contract(redis: Redis, pair: Pair = RECEIVED) -> Contract:
    (found,) = [each for each in await Contracts(redis).all() if each.pair == pair]
    return found


async def test_routed_events_are_counted_by_type_and_version(redis: Redis, rules: ConfigFile) -> None:
    await accept(redis, *(webhook_of("message.failed") for _ in range(300)), webhook_of("message.read"))
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    failed, read = await contract(redis, Pair("message.failed", NEW)), await contract(redis, Pair("message.read", NEW))
    assert (failed.events, read.events) == (300, 1)
    assert {fact for fact, share in failed.shares.items() if share.having} == {"chat", "direction"}
    assert not await Contracts(redis).changes()


async def test_message_that_yields_no_chat_any_more_is_alarmed(redis: Redis) -> None:
    assert not await watched(redis, [event_of() for _ in range(ENOUGH)], [event_of()])
    logs = await watched(redis, *([event_of(moved=True)] for _ in range(20)))
    assert {line["fact"] for line in logs} == {"chat", "line"}
    assert {change.what for change in await Contracts(redis).changes()} == {"lost_chat", "lost_line"}
    samples = (await Contracts(redis).samples([RECEIVED]))[RECEIVED]
    assert samples.usual is not None
    assert samples.usual.payload["data"]["chat"]["id"] == "<uuid>"
    assert samples.changed is not None
    assert samples.changed.payload["data"]["conversation"]["owner_handle"]["handle"] == "<e164>"
    assert LINE not in json.dumps([samples.usual.payload, samples.changed.payload])
    assert not await watched(redis, [event_of(moved=True) for _ in range(100)])  # told once

    assert len(await Contracts(redis).accept({RECEIVED})) == 2
    assert not await Contracts(redis).changes()
    assert not await watched(redis, [event_of(moved=True) for _ in range(1000)])


async def test_change_that_is_over_ends_by_itself(redis: Redis) -> None:
    await watched(redis, [event_of() for _ in range(ENOUGH)], [event_of(moved=True) for _ in range(20)])
    assert await Contracts(redis).changes()
    await watched(redis, [event_of() for _ in range(20)])
    assert not await Contracts(redis).changes()


async def test_silence_and_odd_events_of_a_rare_type_are_no_alarm(redis: Redis) -> None:
    rare = "message.edited"
    assert not await watched(redis, [event_of(rare)] * 3, *([event_of() for _ in range(500)] for _ in range(20)))
    assert not await watched(redis, [event_of(rare, moved=True)], [event_of(moved=True)])
    assert not await Contracts(redis).changes()


async def test_new_type_and_version_are_told_once_by_their_first_event(redis: Redis) -> None:
    batch = [
        event_of("message.teleported"),
        event_of("message.read", "2027-01-01"),
        event_of("call.ended", "2027-01-01"),
    ]
    logs = await watched(redis, batch, batch)
    assert [(line["type"], line["change"]) for line in logs] == [
        ("message.teleported", "new_type"),
        ("message.read", "new_version"),
    ]
    assert not await watched(redis, batch)
    assert len(await Contracts(redis).changes()) == 2


async def test_full_batch_is_counted_by_a_sample_that_has_every_type(redis: Redis) -> None:
    batch = [event_of() for _ in range(128)]
    for place in range(128):
        batch[place] = event_of(f"message.x{place}")
        await watched(redis, batch)
        batch[place] = event_of()
    assert {each.pair.type for each in await Contracts(redis).all()} == {
        RECEIVED.type,
        *(f"message.x{place}" for place in range(128)),
    }
    await redis.flushdb()
    await watched(redis, *([event_of() for _ in range(128)] for _ in range(8)))
    assert (await contract(redis)).events == 1024


async def test_counts_of_two_workers_add_up(redis: Redis) -> None:
    one, other = ContractWatch(redis, time.time), ContractWatch(redis, time.time)
    for _ in range(5):
        one.add([event_of() for _ in range(10)])
        other.add([event_of() for _ in range(10)])
        await one.store()
        await other.store()
    assert (await contract(redis)).events == 100
    assert (await contract(redis)).shares["chat"].so_far == 1


async def test_counts_of_many_shards_are_stored_at_the_same_time(redis: Redis) -> None:
    """After a failover the routers of all shards are due at once."""
    watches = [ContractWatch(redis, time.time) for _ in range(32)]
    for watch in watches:
        watch.add([event_of()])
    with capture_logs() as logs:
        await asyncio.gather(*(watch.store() for watch in watches))
    assert "contracts.not_stored" not in {line["event"] for line in logs}
    assert (await contract(redis)).events == len(watches)


async def test_counts_that_redis_does_not_take_are_kept(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ContractWatch(redis, time.time)
    watch.add([event_of()])

    async def fail(*_: object) -> None:
        raise RedisConnectionError("gone")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Contracts, "add", fail)
        await watch.store()
    assert [line["event"] for line in logs] == ["contracts.not_stored"]
    watch.add([event_of()])
    await watch.store()
    assert (await contract(redis)).events == 2


async def test_oldest_pairs_make_room(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST", 3)
    types = [f"message.x{number}" for number in range(6)]
    await watched(redis, *([event_of(event_type)] for event_type in types))
    assert {each.pair.type for each in await Contracts(redis).all()} == set(types[-3:])
    assert {change.pair.type for change in await Contracts(redis).changes()} == set(types[-3:])
