from __future__ import annotations

import asyncio
import json
import signal
import time
from itertools import count
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from relay.core.sharding.placement import ShardKey, shard_of
from relay.sandbox.app import Emission
from tests.building import body_of, signed
from tests.journeys.conftest import LINES
from tests.support import eventually

if TYPE_CHECKING:
    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received


pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine

_PATIENCE = 10  # seconds that Linq waits for a response


async def delivered(service: Service, expected: set[str]) -> bool:
    return expected <= set(service.sink.ids("/crm"))


def emit(service: Service, number: int) -> set[str]:
    return {service.sandbox.emit(Emission(type="message.received", line=LINES[n % 3]))[0] for n in range(number)}


async def is_unready(service: Service) -> bool:
    return not await service.is_ready()


def chat_of_first_shard(shards: int) -> str:
    return next(chat for number in count() if shard_of(ShardKey("", chat := f"chat-{number}"), shards) == 0)


async def ledger(service: Service) -> dict[str, object]:
    found: dict[str, object] = json.loads(await service.run("ledger", "--json", code=None))
    return found


async def test_redis_kill_needs_no_restart_of_the_relay(running: Service) -> None:
    expected = emit(running, 60)
    await eventually(lambda: delivered(running, expected))
    await running.redis.kill()

    expected |= emit(running, 30)  # Linq continues, and retries a 503
    async with aiohttp.ClientSession() as http:
        if len(set(await running.redis.primaries())) == 1:  # else it accepts what is of other shards
            await eventually(lambda: is_unready(running))  # the state of Redis is asked for twice a second
        async with http.get(f"{running.url}/live") as response:
            assert response.status == 200
    await asyncio.sleep(1)
    assert all(process.returncode is None for process in running.processes)

    await running.redis.start()
    expected |= emit(running, 30)
    await running.sandbox.deliveries.settled()
    await eventually(lambda: delivered(running, expected))
    assert await eventually(running.is_ready)
    assert all(process.returncode is None for process in running.processes)
    async with running.redis.client() as redis:
        streams = [await shard.xrange(shard.key.topic("everything")) for shard in redis.shards]
    entries = [fields[b"id"].decode() for rows in streams for _, fields in rows]
    assert sorted(entries) == sorted(expected)  # each exactly once
    assert (await ledger(running))["balances"]


async def test_paused_redis_is_503_before_linq_gives_up(running: Service) -> None:
    expected = emit(running, 3)
    await eventually(lambda: delivered(running, expected))
    running.redis.signal(signal.SIGSTOP)
    try:
        secret = next(iter(running.sandbox.state.subscriptions.values())).secret
        body = body_of(chat_id=chat_of_first_shard(running.redis.shards))
        began = time.monotonic()
        async with aiohttp.ClientSession() as http:
            posts = [
                http.post(
                    f"{running.url}/webhooks/linq?line={LINES[0][1:]}",
                    data=body,
                    headers=signed(body, time.time(), secret),
                )
                for _ in range(20)
            ]
            answers = await asyncio.gather(*posts)
        assert {answer.status for answer in answers} == {503}
        assert time.monotonic() - began < _PATIENCE
    finally:
        running.redis.signal(signal.SIGCONT)
    expected = emit(running, 10)
    await eventually(lambda: delivered(running, expected))


async def test_work_of_a_killed_worker_resumes_soon(running: Service) -> None:
    release = asyncio.Event()

    async def answer(received: Received) -> web.Response:
        if received.headers["relay-attempt"] == "1" and received.path == "/crm":
            await release.wait()
        return web.Response()

    running.sink.answer = answer
    expected = emit(running, 20)
    await eventually(lambda: delivered(running, expected))  # the sink does not respond yet
    worker = running.processes[-1]
    await running.start("worker")
    await eventually(lambda: running.logged("worker.started") == 2)
    running.sink.received.clear()
    worker.kill()
    running.sink.answer = None
    release.set()
    later = emit(running, 20)
    await eventually(lambda: delivered(running, expected | later))  # arq's own lock would last for minutes

    async def balances() -> bool:
        found = await ledger(running)
        rows = found["subscriptions"]
        assert isinstance(rows, list)
        return bool(found["balances"]) and not any(row["waiting"] for row in rows)

    await eventually(balances)


async def test_graceful_restart_loses_and_repeats_nothing(running: Service) -> None:
    ingress, worker = running.processes
    expected: set[str] = set()
    for _ in range(3):
        expected |= emit(running, 40)
        await asyncio.sleep(0.1)
    # A rolling restart: the new process runs before the old one stops.
    replacement = await running.start("worker")
    await eventually(lambda: running.logged("worker.started") == 2)
    worker.terminate()
    expected |= emit(running, 40)
    assert await worker.wait() == 0
    ingress.terminate()
    assert await ingress.wait() == 0
    await running.start("ingress")
    await eventually(running.is_ready)
    expected |= emit(running, 40)
    await running.sandbox.deliveries.settled()
    await eventually(lambda: delivered(running, expected))
    assert sorted(running.sink.ids("/crm")) == sorted(expected)
    assert replacement.returncode is None
    assert (await ledger(running))["balances"]


async def test_service_continues_after_redis_lost_everything(running: Service) -> None:
    expected = emit(running, 10)
    await eventually(lambda: delivered(running, expected))
    async with running.redis.client() as redis:
        for shard in redis.shards:
            await shard.flushall()
            await shard.script_flush()
    expected = emit(running, 10)
    await eventually(lambda: delivered(running, expected))
    later = emit(running, 10)
    await eventually(lambda: delivered(running, later))


async def test_two_ingress_processes_share_one_port(service: Service) -> None:
    await service.run("bootstrap", "apply")
    ingress = await service.start("ingress", "--processes", "2")
    await service.start("worker", "--processes", "2")
    await eventually(lambda: service.logged("ingress.listening") == 2)
    await eventually(service.is_ready)
    expected = emit(service, 100)
    await eventually(lambda: delivered(service, expected))
    assert sorted(service.sink.ids("/crm")) == sorted(expected)
    ingress.terminate()
    assert await ingress.wait() == 0
    assert service.logged("ingress.stopped") == 2


async def test_up_starts_and_stops_everything(service: Service) -> None:
    for name in service.redis.environment:
        del service.environment[name]
    up = await service.start("up")
    await eventually(service.is_ready)
    await eventually(lambda: len(service.sandbox.state.subscriptions) == len(LINES))
    expected = emit(service, 30)
    await eventually(lambda: delivered(service, expected))
    assert (await ledger(service))["balances"]  # finds the embedded Redis by its data directory
    up.terminate()
    assert await up.wait() == 0
    assert (service.logged("ingress.stopped"), service.logged("worker.stopped")) == (1, 1)


async def test_up_reports_all_mistakes_at_once(service: Service) -> None:
    for name in ("RELAY_SECRET_KEY", "RELAY_PUBLIC_URL"):
        del service.environment[name]
    service.environment["RELAY_LISTEN"] = "nowhere"
    up = await service.start("up")
    assert await up.wait() == 2
    output = service.log.read_text()
    assert all(name in output for name in ("RELAY_SECRET_KEY", "RELAY_PUBLIC_URL", "RELAY_LISTEN"))
    assert "Traceback" not in output
