"""Four shards on a Redis Cluster: events over the URLs of two lines are accepted, routed, delivered and pulled once."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from redis.crc import key_slot

from relay.config.settings import Settings
from relay.consumer import consume
from relay.core.sharding.placement import ShardKey
from relay.parts import open_keyring
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from tests.building import OTHER_SECRET, SECRET, body_of, signed
from tests.clusters import clusters
from tests.journeys.conftest import LINES, open_service
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.consumer import Event
    from tests.clusters import Cluster
    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

pytestmark = [pytest.mark.slow, pytest.mark.own_cluster, pytest.mark.timeout(180)]  # seconds, also on a busy machine

CHATS = [f"dialog-{number}" for number in range(12)]
COUNT = 4
SECRETS = dict(zip(LINES, (SECRET, OTHER_SECRET), strict=False))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with clusters(tmp_path / "servers", replicas=0) as cluster:
        yield cluster


@pytest.fixture
async def shards(cluster: Cluster) -> AsyncIterator[Shards]:
    async with open_shards(cluster.url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
async def running(cluster: Cluster, shards: Shards, tmp_path: Path) -> AsyncIterator[Service]:
    async with open_service(tmp_path) as service:
        service.environment |= {"REDIS_URL": cluster.url, "RELAY_SHARDS": "4"}
        rules = service.rules.read_text()
        service.rules.write_text(rules.replace('name = "bot"', 'name = "bot"\nordered = "chat"\nconcurrency = 4'))
        key = SecretStr(service.environment["RELAY_SECRET_KEY"])
        keyring = open_keyring(Settings(relay_secret_key=key), shards.home)
        for line, secret in SECRETS.items():
            await keyring.store(line, 1, f"linq-{line}", secret, 0)
        await service.start("ingress")
        await service.start(module="workers")
        await service.start(module="workers")
        await eventually(service.is_ready)
        await eventually(lambda: service.logged("worker.started") == 2)
        yield service


async def test_events_over_the_urls_of_two_lines_are_delivered_once_in_the_order_of_their_chats(
    running: Service, cluster: Cluster, shards: Shards
) -> None:
    sent = [[f"{chat}-{number}" for number in range(COUNT)] for chat in CHATS]
    everything, sink = {name for ids in sent for name in ids}, running.sink
    async with pulling(cluster.url) as pulled, aiohttp.ClientSession(running.url) as http:
        await asyncio.gather(*(send(http, chat, ids) for chat, ids in zip(CHATS, sent, strict=True)))
        await eventually(lambda: everything == set(sink.ids("/bot")) == set(sink.ids("/crm")), timeout=60)
        await eventually(lambda: set(pulled) == everything, timeout=60)
    assert len(pulled) == len(everything)
    for stream, shard in ((shard.key.topic("messages"), shard) for shard in shards.all):
        assert (await shard.xpending(stream, "billing"))["pending"] == 0
    ledger = json.loads(await eventually(lambda: balanced(running), timeout=60))
    assert len(sink.ids("/bot")) == len(sink.ids("/crm")) == len(everything)
    by_chat = await chats_of(shards)
    for chat, ids in zip(CHATS, sent, strict=True):
        assert by_chat[chat] == ids
        assert [name for name in sink.ids("/bot") if name in ids] == ids
        assert [name for name in pulled if name in ids] == ids
    owners = {await cluster.owner(key_slot(shard.key.name.encode())) for shard in shards.all}
    assert len(owners) > 1

    totals = ledger["totals"]
    assert totals["accepted"] == totals["routed"] == totals["duplicate"] == len(everything)
    for row in ledger["subscriptions"]:
        assert (row["routed"], row["delivered"]) == (len(everything), len(everything))
    topics = json.loads(await running.run("topics", "--json"))
    assert {row["name"]: row["events"] for row in topics} == {
        "messages": len(everything),
        "everything": len(everything),
    }
    assert "CROSSSLOT" not in running.log.read_text()


async def test_killed_worker_loses_nothing_on_any_shard(running: Service) -> None:
    """Each drain is on all shards, so a kill leaves leases, unsettled deliveries and open batches on all of them."""
    sink = running.sink

    async def answer(_: Received) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(status=204)

    sink.answer = answer
    sent = [[f"{chat}-{number}" for number in range(COUNT)] for chat in CHATS]
    everything = {name for ids in sent for name in ids}
    async with aiohttp.ClientSession(running.url) as http:
        sending = asyncio.gather(*(send(http, chat, ids) for chat, ids in zip(CHATS, sent, strict=True)))
        await eventually(lambda: len(sink.received) > 10)
        running.processes[1].kill()
        await sending
    await eventually(lambda: everything == set(sink.ids("/bot")) == set(sink.ids("/crm")), timeout=60)
    ledger = json.loads(await eventually(lambda: balanced(running), timeout=60))
    assert ledger["totals"]["accepted"] == ledger["totals"]["routed"] == len(everything)
    for row in ledger["subscriptions"]:
        assert (row["routed"], row["delivered"], row["lost"]) == (len(everything), len(everything), 0)
    for ids in sent:
        received = [name for name in sink.ids("/bot") if name in ids]
        assert list(dict.fromkeys(received)) == ids  # what was in flight may come again


async def test_ingress_accepts_events_of_the_other_shards_while_the_first_one_is_away(
    running: Service, cluster: Cluster, shards: Shards
) -> None:
    for port in cluster.ports:
        await cluster.command(port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    owners = [await cluster.owner(key_slot(shard.key.name.encode())) for shard in shards.all]
    kept = [shard for shard, owner in zip(shards.all, owners, strict=True) if owner != owners[0]]
    chats = [chat for chat in CHATS if shards.of(ShardKey("", chat)) in kept]
    assert chats
    cluster.kill(owners[0])
    async with aiohttp.ClientSession(running.url) as http:
        await asyncio.gather(*(send(http, chat, [f"{chat}-{number}" for number in range(COUNT)]) for chat in chats))
    assert await running.is_ready()
    cluster.start(owners[0])
    everything = {f"{chat}-{number}" for chat in chats for number in range(COUNT)}
    await eventually(lambda: everything == set(running.sink.ids("/bot")), timeout=60)


@asynccontextmanager
async def pulling(url: str) -> AsyncIterator[list[str]]:
    """Read the topic with a consumer of four handlers, and yield the ids of what they handled."""
    pulled: list[str] = []

    async def handle(event: Event) -> None:
        await asyncio.sleep(0.001)
        pulled.append(event.id)

    async with consume(url, topic="messages", group="billing") as events:
        running = asyncio.create_task(events.run(handle, concurrency=4))
        yield pulled
        events.stop()
        await running


async def send(http: aiohttp.ClientSession, chat: str, ids: list[str]) -> None:
    """Send the events of a chat one after the other, each over the URLs of two lines."""
    for event_id in ids:
        body = body_of(event_id=event_id, chat_id=chat, owner_handle=LINES[0])
        for line, secret in SECRETS.items():
            url = f"/webhooks/linq?line={line.removeprefix('+')}&gen=1"
            async with http.post(url, data=body, headers=signed(body, time.time(), secret)) as answer:
                assert answer.status == 200


async def chats_of(shards: Shards) -> dict[str, list[str]]:
    """Return the events of each chat in the topic, in its order; a chat is on one shard."""
    found: dict[str, list[str]] = defaultdict(list)
    for shard in shards.all:
        rows = await shard.xrange(shard.key.topic("messages"))
        assert rows
        of_shard = {fields[b"chat"].decode() for _, fields in rows}
        assert of_shard.isdisjoint(found)
        for _, fields in rows:
            found[fields[b"chat"].decode()].append(fields[b"id"].decode())
    return found


async def balanced(service: Service) -> str | None:
    """Return the ledger once it balances and nothing waits."""
    text = await service.run("ledger", "--json", code=None)
    ledger = json.loads(text)
    is_quiet = not any(row["waiting"] or row["retrying"] for row in ledger["subscriptions"])
    return text if ledger["balances"] and is_quiet and not ledger["totals"]["inbox"] else None
