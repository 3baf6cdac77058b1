from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from relay.consumer import ConsumerError, UnknownTopic, consume, consume_sync
from relay.consumer.base import LEAVE_TIMEOUT
from relay.store.driver.client import Redis
from relay.store.keys import Keyspace
from relay.store.rights.rules import team_rule
from relay.store.topics.registry import register_topics
from tests.certificates import Authority, tls_in_front_of
from tests.consumer.stage import KINDS, STREAM, feed, none_pending, take
from tests.redis_server import RedisServer
from tests.sentinels import sentinels
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

IDS = tuple(map(str, range(200)))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Start a Redis that can be killed."""
    server = RedisServer(tmp_path / "redis")
    await server.start()
    yield server
    await server.kill()


class Reader:
    """A member of either kind, whose events arrive in `seen`."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url, self.seen = kind, url, list[str]()
        self.has_half = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def read(self) -> None:
        if self.kind == "blocking":
            await asyncio.to_thread(self._read_blocking)
            return
        async with consume(self.url, topic="support", group="g") as events:
            async for event in events:
                if self._is_last(event.id):
                    break
                await asyncio.sleep(0.002)

    def _read_blocking(self) -> None:
        with consume_sync(self.url, topic="support", group="g") as events:
            for event in events:
                if self._is_last(event.id):
                    break

    def _is_last(self, event_id: str) -> bool:
        self.seen.append(event_id)
        if len(self.seen) == len(IDS) // 2:
            self._loop.call_soon_threadsafe(self.has_half.set)
        return len(set(self.seen)) == 2 * len(IDS)


@pytest.mark.parametrize("kind", KINDS)
async def test_killed_redis_is_waited_out(server: RedisServer, kind: str) -> None:
    reader = Reader(kind, server.url)
    async with server.client() as redis:
        await feed(redis, *IDS)
    async with asyncio.timeout(30):
        reading = asyncio.create_task(reader.read())
        await reader.has_half.wait()
        await server.kill()
        await server.start()
        async with server.client() as redis:
            await feed(redis, *(f"later-{event_id}" for event_id in IDS))
            await reading
            assert await none_pending(redis)
    assert set(reader.seen) == {*IDS, *(f"later-{event_id}" for event_id in IDS)}
    assert reader.seen.index("later-0") > reader.seen.index("199")


@pytest.mark.parametrize("kind", KINDS)
async def test_failover_by_sentinels_is_waited_out(tmp_path: Path, kind: str) -> None:
    async with sentinels(tmp_path / "servers") as topology, asyncio.timeout(60):
        first = await topology.primary()
        async with Redis(port=first) as redis:
            await feed(redis, *IDS)
        reader = Reader(kind, topology.url)
        reading = asyncio.create_task(reader.read())
        await reader.has_half.wait()
        await eventually(topology.is_whole)
        topology.kill(first)
        await eventually(lambda: topology.has_moved_from(first))
        async with Redis(port=await topology.primary()) as redis:
            await feed(redis, *(f"later-{event_id}" for event_id in IDS))
            await reading
            assert await none_pending(redis)
    assert set(reader.seen) == {*IDS, *(f"later-{event_id}" for event_id in IDS)}


@pytest.mark.parametrize("kind", KINDS)
async def test_tls_checks_the_certificate(redis: Redis, redis_url: str, tmp_path: Path, kind: str) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    await feed(redis, "one")
    plain = urlsplit(redis_url)
    async with tls_in_front_of(plain.port or 0, authority.server_context(tmp_path)) as port:
        url = redis_url.replace("redis://", "rediss://").replace(f":{plain.port}", f":{port}")
        assert [taken.id for taken in await take(kind, f"{url}?ssl_ca_certs={tmp_path}/ca.pem", 1)] == ["one"]
        with pytest.raises(ConsumerError, match="certificate verify failed"):
            await take(kind, url, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_member_that_leaves_does_not_wait_for_redis(server: RedisServer, kind: str) -> None:
    async with server.client() as redis:
        await feed(redis, *IDS)

    def leave_blocking() -> None:
        with consume_sync(server.url, topic="support", group="g") as events:
            next(events)
            asyncio.run_coroutine_threadsafe(server.kill(), loop).result()

    loop = asyncio.get_running_loop()
    async with asyncio.timeout(LEAVE_TIMEOUT - 1):
        if kind == "blocking":
            await asyncio.to_thread(leave_blocking)
        else:
            async with consume(server.url, topic="support", group="g") as events:
                await anext(events)
                await server.kill()


async def test_blocking_consumer_is_refused_likewise(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.consumer.protocol.group.TOPIC_GRACE", 0.1)

    def join(url: str, topic: str) -> None:
        with consume_sync(url, topic=topic, group="g") as events:
            next(events)

    await register_topics(redis, ["support"])
    with pytest.raises(UnknownTopic, match='did you mean "support"'):
        await asyncio.to_thread(join, redis_url, "suport")
    with pytest.raises(ConsumerError, match="Redis refuses this consumer"):
        await asyncio.to_thread(join, re.sub(":[^:]*@", ":wrong@", redis_url), "support")
    await redis.set(STREAM, "not ours")
    with pytest.raises(ConsumerError, match="is not a stream"):
        await asyncio.to_thread(join, redis_url, "support")


async def test_refusal_names_topic_or_command(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.consumer.protocol.group.TOPIC_GRACE", 0.1)
    await register_topics(redis, ["support", "everything"])
    rule = re.findall(r"\([^)]*\)|\S+", str(team_rule("support", Keyspace())))
    await redis.execute_command("ACL", "SETUSER", "team", "on", ">secret", *rule)  # type: ignore[no-untyped-call]
    url = re.sub("//:[^:]*@", "//team:secret@", redis_url)
    for topic, message in (
        ("suport", 'did you mean "support"'),
        ("everything", "XGROUP CREATE relay:topic:everything;"),
    ):
        with pytest.raises(ConsumerError, match=message):
            async with consume(url, topic=topic, group="g"):
                pass
    await redis.acl_deluser("team")
