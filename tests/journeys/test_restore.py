"""Backup and restore as the backup page describes them: copies of a running Redis, and another one from each copy."""

from __future__ import annotations

import json
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from relay.sandbox.app import Emission
from tests.journeys.conftest import LINES
from tests.journeys.subscribers import RULES, answer, subscription
from tests.redis_server import RedisServer
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.journeys.conftest import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.background,
    pytest.mark.timeout(180),  # seconds, also on a busy machine
    pytest.mark.plain_redis("it copies the files of one server and starts another one with them"),
]


async def test_redis_is_restored_from_either_copy(service: Service, tmp_path: Path) -> None:
    sink, former = service.sink.url, service.redis
    assert isinstance(former, RedisServer)
    service.rules.write_text(
        RULES
        + "".join(subscription(name, sink, "10m") for name in ("done", "failing", "refusing"))
        + subscription("paused", sink, "10m", "paused = true")
    )
    service.sink.answer = answer
    await service.bootstrap()
    await service.start("ingress")
    worker = await service.start(module="workers")
    await eventually(service.is_ready)
    routed = [_emit(service) for _ in range(5)]
    _emit(service, body="no JSON")
    async with service.redis.client() as redis:
        await eventually(lambda: _has_settled(redis, 5))
        await redis.xgroup_create(redis.key.topic("messages"), "billing", "0")
        await redis.xreadgroup("billing", "member", {redis.key.topic("messages"): ">"}, count=2)
    worker.terminate()
    await worker.wait()
    unrouted = [_emit(service) for _ in range(2)]
    await service.sandbox.deliveries.settled()
    before = json.loads(await service.run("ledger", "--json"))
    assert (before["totals"]["inbox"], before["totals"]["quarantined"]) == (2, 1)
    assert {row["subscription"]: _state(row) for row in before["subscriptions"]} == {
        "done": {"delivered": 5},
        "failing": {"retrying": 5},
        "paused": {"waiting": 5},
        "refusing": {"dead": 5},
    }

    await _copy(former, tmp_path / "copies")
    after = _emit(service)
    await service.sandbox.deliveries.settled()
    await service.redis.kill()

    for form in ("aof", "rdb"):
        service.sink.received.clear()
        service.sink.answer = answer
        if form == "rdb":
            await _give_append_only_file(tmp_path / "copies" / form)
        async with _started(RedisServer(tmp_path / "copies" / form, port=former.port)) as server:
            assert json.loads(await service.run("ledger", "--json")) == before
            await eventually(service.is_ready)  # the ingress ran all the time
            service.sink.answer = None
            await _let_retries_be_due(server)
            worker = await service.start(module="workers")
            await _works_on(service, server, [*routed, *unrouted], unrouted)
            assert after not in service.sink.ids()  # accepted after the copy: lost with the former Redis
            worker.terminate()
            await worker.wait()


async def test_linqs_retries_survive_the_loss_of_redis(service: Service, tmp_path: Path) -> None:
    former = service.redis
    assert isinstance(former, RedisServer)
    await service.bootstrap()
    async with former.client() as redis:
        copy = await redis.dump(redis.key.keyring)
    ingress = await service.start("ingress")
    await eventually(service.is_ready)
    await service.redis.kill()
    missed = _emit(service)
    await eventually(lambda: service.logged("event.refused"))  # 503: Linq sends it again
    async with _started(RedisServer(tmp_path / "empty", port=former.port)) as server:
        await _accepts(server, missed)  # by the secrets in the memory of the ingress
        ingress.terminate()
        await ingress.wait()
        async with server.client() as redis:
            await redis.flushall()
            missed = _emit(service)
            await redis.restore(redis.key.keyring, 0, copy)
        await service.run("bootstrap", "plan", "--detailed-exitcode")  # nothing is pending
        await service.start("ingress")
        await _accepts(server, missed)  # by the copied keyring


async def _accepts(server: RedisServer, event_id: str) -> None:
    """Wait until the inbox has the event, and no other."""
    async with server.client() as redis:
        await eventually(lambda: redis.xlen(redis.key.inbox))
        assert [fields[b"id"].decode() for _, fields in await redis.xrange(redis.key.inbox)] == [event_id]


async def _works_on(service: Service, server: RedisServer, kept: list[str], unrouted: list[str]) -> None:
    """Deliver what was left in every state, to subscribers that work again, and the events that are new."""
    new = _emit(service)
    await service.run("dead", "replay", "--subscription", "refusing", "--all", "--why", "restored")
    service.rules.write_text(service.rules.read_text().replace("paused = true", ""))
    sink = service.sink
    async with server.client() as redis:
        await eventually(lambda: all(set(sink.ids(f"/{name}")) == {*kept, new} for name in ("failing", "refusing")))
        await eventually(lambda: set(sink.ids("/paused")) == {*kept, new})
        # Delivered before the copy: not sent again.
        await eventually(lambda: sorted(sink.ids("/done")) == sorted([*unrouted, new]))
        topic = redis.key.topic("messages")
        assert (await redis.xpending(topic, "billing"))["pending"] == 2
        assert [fields[b"id"].decode() for _, fields in await redis.xrange(topic)][:7] == kept
        await eventually(lambda: _has_settled(redis, len(kept) + 1))
    assert len(json.loads(await service.run("quarantine", "list", "--json"))) == 1
    after = json.loads(await service.run("ledger", "--json"))
    assert after["balances"]
    assert [_state(row) for row in after["subscriptions"]] == [{"delivered": len(kept) + 1}] * 4
    service.rules.write_text(service.rules.read_text() + "paused = true\n")


async def _copy(server: RedisServer, directory: Path) -> None:
    """Copy the files of a running Redis in both forms, as the backup page says."""
    async with server.client() as redis:
        await redis.config_set("auto-aof-rewrite-percentage", 0)
        await eventually(lambda: _is(redis, "aof_rewrite_in_progress", 0))
        shutil.copytree(server.directory / "appendonlydir", directory / "aof" / "appendonlydir")
        await redis.config_set("auto-aof-rewrite-percentage", 100)
        await redis.bgsave()
        await eventually(lambda: _is(redis, "rdb_bgsave_in_progress", 0))
        assert await _is(redis, "rdb_last_bgsave_status", "ok")
    (directory / "rdb").mkdir()
    shutil.copy(server.directory / "dump.rdb", directory / "rdb")


async def _give_append_only_file(directory: Path) -> None:
    """Make an append-only file of `dump.rdb` in `directory`: a server that has one already does not read the other."""
    async with _started(RedisServer(directory, append_only=False)) as server, server.client() as redis:
        await redis.config_set("appendonly", "yes")
        await eventually(lambda: _is(redis, "aof_rewrite_in_progress", 0))
        assert await _is(redis, "aof_last_bgrewrite_status", "ok")


@asynccontextmanager
async def _started(server: RedisServer) -> AsyncIterator[RedisServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _let_retries_be_due(server: RedisServer) -> None:
    """Let the ten minutes to the next attempt pass."""
    async with server.client() as redis:
        retries = redis.key.lane("failing", "retries")
        for delivery in await redis.zrange(retries, 0, -1):
            await redis.zadd(retries, {delivery: 0})


async def _is(redis: Any, field: str, value: object) -> bool:
    return bool((await redis.info("persistence"))[field] == value)


async def _has_settled(redis: Any, events: int) -> bool:
    """Return True if each subscription but a paused one has settled or postponed `events`, and one is in quarantine."""
    attempts = [await redis.xlen(redis.key.lane(name, "attempts")) for name in ("done", "failing", "refusing")]
    return bool(min(attempts) >= events and await redis.xlen(redis.key.quarantine) == 1)


def _state(row: dict[str, Any]) -> dict[str, int]:
    """Return the counts of a ledger's row that are above 0, without those of the other side."""
    states = ("delivered", "waiting", "retrying", "dead", "dropped", "discarded", "lost")
    return {name: row[name] for name in states if row[name]}


def _emit(service: Service, **more: Any) -> str:
    """Emit an event; return its id."""
    return service.sandbox.emit(Emission(type="message.received", line=LINES[0], **more))[0]
