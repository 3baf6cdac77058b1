"""A relay grows under load while `relay shards apply` is killed again and again: no event is lost or comes twice."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.sharding.placement import ShardKey, shard_of
from relay.parts import open_keyring
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import open_shards
from tests.building import OTHER_SECRET, SECRET, body_of, signed
from tests.journeys.conftest import LINES
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping

    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]  # seconds, also on a busy machine

CHATS = [f"dialog-{number}" for number in range(12)]
SECRETS = dict(zip(LINES, (SECRET, OTHER_SECRET), strict=False))
KILLS = 5
AHEAD = 8
"""Events of a chat that are sent before its first one is delivered: a machine that is busy falls no further behind."""
REFUSED = 0.03
"""The share of events whose first attempt fails; too few to open the circuit breaker."""
PAUSE = 0.3  # seconds between two events of a chat


@dataclass(slots=True)
class Fleet:
    """Two ingresses and two workers, each replaced by one with another number of shards in its turn."""

    service: Service
    ports: tuple[int, int]
    processes: list[Process] = field(default_factory=list)

    async def start(self, number: int, shards: int) -> Process:
        """Start the process with this place in the fleet."""
        environment = self.service.environment
        environment |= {"RELAY_SHARDS": str(shards)}
        if number < len(self.ports):
            environment["RELAY_LISTEN"] = f"127.0.0.1:{self.ports[number]}"
            return await self.service.start("ingress")
        return await self.service.start(module="workers")

    async def start_all(self, shards: int) -> None:
        self.processes = [await self.start(number, shards) for number in range(4)]
        await eventually(lambda: self.service.logged("worker.started") == 2)
        await eventually(lambda: self.service.logged("ingress.listening") == 2)

    async def replace_all(self, shards: int) -> None:
        """Restart one process after the other."""
        for number, process in enumerate(self.processes):
            event = "ingress.listening" if number < len(self.ports) else "worker.started"
            before = self.service.logged(event)
            process.terminate()
            await process.wait()
            self.processes[number] = await self.start(number, shards)
            await eventually(lambda event=event, before=before: self.service.logged(event) > before)  # type: ignore[misc]


@dataclass(slots=True)
class Traffic:
    """Linq: it sends each event over the URLs of two lines until both have accepted it, and some again later."""

    ports: tuple[int, int]
    http: aiohttp.ClientSession
    delivered: Mapping[str, list[str]]
    """Events that "bot" has got, by chat."""
    sent: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    is_over: bool = False
    refused: Counter[int] = field(default_factory=Counter)

    async def run(self) -> None:
        await asyncio.gather(*map(self._chat, CHATS))

    async def _chat(self, chat: str) -> None:
        dice = random.Random(chat)
        while not self.is_over:
            if len(self.sent[chat]) - len(self.delivered[chat]) >= AHEAD:
                await asyncio.sleep(PAUSE)
                continue
            event_id = f"{chat}-{len(self.sent[chat])}"
            self.sent[chat].append(event_id)
            await self._send(chat, event_id, dice)
            if dice.random() < 0.2:
                await self._send(chat, dice.choice(self.sent[chat]), dice)
            await asyncio.sleep(PAUSE * dice.uniform(0.5, 1.5))

    async def _send(self, chat: str, event_id: str, dice: random.Random) -> None:
        body = body_of(event_id=event_id, chat_id=chat, owner_handle=LINES[0])
        for line, secret in SECRETS.items():
            while True:
                port = dice.choice(self.ports)
                url = f"http://127.0.0.1:{port}/webhooks/linq?line={line.removeprefix('+')}&gen=1"
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with self.http.post(url, data=body, headers=signed(body, time.time(), secret)) as answer:
                        if answer.status == 200:
                            break
                        self.refused[answer.status] += 1
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("former", [1, 2])
async def test_growth_under_load_loses_nothing_and_keeps_the_order(service: Service, former: int) -> None:
    rules = service.rules.read_text()
    service.rules.write_text(rules.replace('name = "bot"', 'name = "bot"\nordered = "chat"\nconcurrency = 8'))
    delivered, of_chat, refused = record_deliveries(service)
    fleet = Fleet(service, (reserve_port(), reserve_port()))
    await store_secrets(service)
    await fleet.start_all(former)
    async with aiohttp.ClientSession() as http:
        traffic = Traffic(fleet.ports, http, of_chat)
        sending = asyncio.create_task(traffic.run())
        await eventually(lambda: len(delivered["/bot"]) > 40)
        await service.run("shards", "prepare", "4")
        await fleet.replace_all(4)
        await grow_and_kill(service, random.Random(former))
        done = json.loads(await service.run("shards", "apply", "--json"))
        assert (done["phase"], done["former"], done["target"]) == ("done", former, 4)
        count = sum(map(len, traffic.sent.values()))
        await eventually(lambda: sum(map(len, traffic.sent.values())) > count + 100)
        traffic.is_over = True
        await sending
    everything = [event_id for ids in traffic.sent.values() for event_id in ids]
    for path in ("/bot", "/crm"):
        await eventually(lambda path=path: set(everything) <= set(delivered[path]), timeout=60)  # type: ignore[misc]
        assert [name for name, count in Counter(delivered[path]).items() if count > 1] == []
    assert refused
    assert dict(of_chat) == dict(traffic.sent)
    assert set(traffic.refused) <= {503}
    await check_the_books(service, len(everything))
    await check_places(service, traffic.sent, former)


def record_deliveries(service: Service) -> tuple[dict[str, list[str]], dict[str, list[str]], set[str]]:
    """Let the sink refuse the first attempt of some events.

    Return what it takes by path, what "bot" takes by chat, and what was refused.
    """
    delivered: dict[str, list[str]] = defaultdict(list)
    of_chat: dict[str, list[str]] = defaultdict(list)
    refused: set[str] = set()

    async def answer(received: Received) -> web.Response:
        event_id = received.headers["webhook-id"]
        is_refused = random.Random(event_id).random() < REFUSED
        if received.path == "/bot" and is_refused and event_id not in refused:
            refused.add(event_id)
            return web.Response(status=500)
        delivered[received.path].append(event_id)
        if received.path == "/bot":
            of_chat[event_id.rpartition("-")[0]].append(event_id)
        return web.Response(status=204)

    service.sink.answer = answer
    return delivered, of_chat, refused


async def store_secrets(service: Service) -> None:
    key = SecretStr(service.environment["RELAY_SECRET_KEY"])
    async with service.redis.client() as redis:
        keyring = open_keyring(Settings(relay_secret_key=key), redis)
        for line, secret in SECRETS.items():
            await keyring.store(line, 1, f"linq-{line}", secret, 0)


async def grow_and_kill(service: Service, dice: random.Random) -> None:
    """Kill `relay shards apply` at random moments."""
    for number in range(KILLS):
        process = await service.start("shards", "apply")
        with suppress(TimeoutError):
            async with asyncio.timeout(dice.uniform(0.5, 1.5) + 0.2 * number):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def check_the_books(service: Service, count: int) -> None:
    async def balanced() -> str | None:
        text = await service.run("ledger", "--json", code=None)
        ledger = json.loads(text)
        is_quiet = not any(row["waiting"] or row["retrying"] for row in ledger["subscriptions"])
        return text if ledger["balances"] and is_quiet and not ledger["totals"]["inbox"] else None

    ledger = json.loads(await eventually(balanced, timeout=60))
    assert ledger["totals"]["accepted"] == ledger["totals"]["routed"] == count
    for row in ledger["subscriptions"]:
        assert (row["routed"], row["delivered"], row["dead"], row["lost"]) == (count, count, 0, 0)


async def check_places(service: Service, sent: dict[str, list[str]], former: int) -> None:
    """Check that each event is on one shard: that of its chat by the former number, and from the switch on by four."""
    places: dict[str, list[int]] = defaultdict(list)
    async with open_shards(service.redis.url, WORKER_TIMEOUT, count=4) as shards:
        for number, shard in enumerate(shards.all):
            for _, fields in await shard.xrange(shard.key.topic("everything")):
                places[fields[b"id"].decode()].append(number)
    moved = 0
    for chat, ids in sent.items():
        before, after = (shard_of(ShardKey("", chat), number) for number in (former, 4))
        of_chat = [places[event_id] for event_id in ids]
        assert all(len(found) == 1 for found in of_chat)
        numbers = [number for [number] in of_chat]
        assert numbers == sorted(numbers, key=(before, after).index)
        assert numbers[-1] == after
        moved += before != after and numbers[0] == before
    assert moved
