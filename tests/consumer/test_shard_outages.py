"""One shard of four cannot be reached: the others are read, and it is read again when it is back."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.consumer import consume, consume_sync
from relay.consumer.clients import asynchronous, blocking
from tests.consumer.stage import KINDS, Reader, feed_shard, feed_shards, none_pending_on_shards
from tests.support import eventually

if TYPE_CHECKING:
    from relay.consumer import Event
    from relay.store.driver.client import Redis

pytestmark = pytest.mark.background

IDS = tuple(map(str, range(40)))
AWAY = 2
OF_AWAY = f"relay/{AWAY}:"


class Outage:
    """An outage of the third shard: its commands fail, at once or only after some time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on, self.seconds = False, 0.0
        self.back = threading.Event()
        send, send_blocking = asynchronous.Connected._send, blocking.Connected._send

        async def send_or_fail(connected: Any, commands: Any, *, is_atomic: bool) -> list[Any]:
            if self._hits(commands):
                await asyncio.sleep(self.seconds)
                raise RedisConnectionError("it is away")
            replies = await send(connected, commands, is_atomic=is_atomic)
            self._lose(commands)
            return replies

        def send_or_fail_blocking(connected: Any, commands: Any, *, is_atomic: bool) -> list[Any]:
            if self._hits(commands):
                self.back.wait(self.seconds)
                raise RedisConnectionError("it is away")
            replies = send_blocking(connected, commands, is_atomic=is_atomic)
            self._lose(commands)
            return replies

        monkeypatch.setattr(asynchronous.Connected, "_send", send_or_fail)
        monkeypatch.setattr(blocking.Connected, "_send", send_or_fail_blocking)

    def begin(self, seconds: float) -> None:
        self.is_on, self.seconds = True, seconds

    def end(self) -> None:
        self.is_on = False
        self.back.set()

    def _lose(self, commands: Any) -> None:
        if self._hits(commands):
            raise RedisConnectionError("it went away before it answered")

    def _hits(self, commands: Any) -> bool:
        return self.is_on and any(command.key.startswith(OF_AWAY) for command in commands)


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["loop", "run"])
@pytest.mark.parametrize("seconds", [0.0, 3.0], ids=["refused", "silent"])
async def test_others_go_on_and_it_is_read_again(
    redis: Redis,
    redis_url: str,
    outage: Outage,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    how: str,
    seconds: float,
) -> None:
    await feed_shards(redis, *IDS[:8])
    reader = Reader(kind, redis_url, how)
    others = [each for each in IDS[8:] if int(each) % 4 != AWAY]
    async with reader.reading():
        await eventually(lambda: reader.has(IDS[:8]))
        outage.begin(seconds)
        await feed_shard(redis, AWAY, "late")
        began = time.monotonic()
        for event_id in others:
            await feed_shard(redis, int(event_id) % 4, event_id)
        await eventually(lambda: reader.has(tuple(others)))
        assert time.monotonic() - began < 3
        if not seconds:
            await eventually(lambda: "on shard 2: waiting for Redis" in caplog.text)
        assert "late" not in reader.seen
        outage.end()
        await eventually(lambda: reader.has(("late",)))
    assert sorted(reader.seen) == sorted([*IDS[:8], *others, "late"])
    assert await none_pending_on_shards(redis)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefetch", [2, 100])
async def test_member_may_join_and_leave_while_a_shard_is_away(
    redis: Redis, redis_url: str, outage: Outage, monkeypatch: pytest.MonkeyPatch, kind: str, prefetch: int
) -> None:
    monkeypatch.setattr("relay.consumer.protocol.whole.JOIN_WAIT", 0.2)
    await feed_shards(redis, *IDS)
    others = tuple(each for each in IDS if int(each) % 4 != AWAY)
    outage.begin(0.0)
    reader, second = Reader(kind, redis_url, "loop", prefetch=prefetch), Reader(kind, redis_url, "loop")
    async with reader.reading():
        await eventually(lambda: reader.has(others))
    outage.end()
    async with second.reading():
        await eventually(lambda: second.has(IDS[AWAY::4]))
    assert sorted([*reader.seen, *second.seen], key=int) == list(IDS)
    assert await none_pending_on_shards(redis)


@pytest.mark.parametrize("kind", KINDS)
async def test_failed_event_of_a_shard_that_is_away_keeps_no_handler_from_the_others(
    redis: Redis, redis_url: str, outage: Outage, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("relay.consumer.protocol.member._FIRST_RETRY", 0.01)
    await feed_shard(redis, AWAY, "bad", "next", chat="c")
    others = tuple(each for each in IDS if int(each) % 4 != AWAY)
    seen: list[str] = []
    consumer: Any = None

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id == "bad" and event.deliveries == 1:
            outage.begin(0.0)
            raise ValueError("no such customer")

    async def read() -> None:
        nonlocal consumer
        async with consume(redis_url, topic="support", group="g") as consumer:

            async def handle_soon(event: Event) -> None:
                handle(event)

            await consumer.run(handle_soon, concurrency=1)

    def read_blocking() -> None:
        nonlocal consumer
        with consume_sync(redis_url, topic="support", group="g") as consumer:
            consumer.run(handle, concurrency=1)

    reading = asyncio.create_task(read() if kind == "async" else asyncio.to_thread(read_blocking))
    try:
        await eventually(lambda: seen == ["bad"])
        for event_id in others:
            await feed_shard(redis, int(event_id) % 4, event_id)
        await eventually(lambda: set(seen) == {"bad", *others})
        outage.end()
        await eventually(lambda: "next" in seen)
        assert [each for each in seen if each in {"bad", "next"}] == ["bad", "bad", "next"]
    finally:
        consumer.stop()
        await reading
    assert await none_pending_on_shards(redis)
