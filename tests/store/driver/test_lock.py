"""The lock for changes at Linq: its holder is named, and a dead one is waited for no longer than the lease."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreError
from relay.process.tasks import in_background
from relay.store.driver import lock
from relay.store.driver.lock import Holder, exclusive_lock
from tests.support import eventually

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

KEY = "test:lock"
DEAD = Holder(host="web-1", pid=4711, since=1_789_377_302, nonce="x")


async def test_free_lock_is_taken_without_a_word(redis: Redis) -> None:
    said: list[str] = []
    async with exclusive_lock(redis, KEY, "apply", said.append):
        assert str(os.getpid()) in str(await redis.get(KEY))
        assert 0 < await redis.pttl(KEY) <= 5000
    assert (said, await redis.exists(KEY)) == ([], 0)


async def test_lock_of_a_killed_holder_ends_with_its_lease(redis: Redis) -> None:
    said: list[str] = []

    async def end_lease() -> None:
        await eventually(lambda: said)
        await redis.pexpire(KEY, 50)

    await redis.set(KEY, DEAD.model_dump_json())
    async with in_background(end_lease()), exclusive_lock(redis, KEY, "apply", said.append):
        pass
    [message] = said
    assert "another apply (pid 4711 on web-1, since 09:15:02 UTC) holds the lock; waiting up to 60 s" in message


async def test_heartbeat_keeps_the_lock(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_HEARTBEAT", 0.02)
    done: list[str] = []

    async def is_renewed() -> bool:
        return 0 < int(await redis.pttl(KEY)) <= lock.LEASE * 1000

    async def second() -> None:
        async with exclusive_lock(redis, KEY, "apply", lambda _: done.append("waits")):
            done.append("second")

    async with exclusive_lock(redis, KEY, "apply"), in_background(second()) as waiting:
        await eventually(lambda: done)
        for _ in range(2):
            await redis.pexpire(KEY, 60_000)
            await eventually(is_renewed)
        done.append("first")
        assert not waiting.done()
    assert done == ["waits", "first"]


async def test_cancelled_holder_releases_at_once(redis: Redis) -> None:
    held = asyncio.Event()

    async def hold() -> None:
        async with exclusive_lock(redis, KEY, "apply"):
            held.set()
            await asyncio.Event().wait()

    async with in_background(hold()):
        await held.wait()
    assert await redis.exists(KEY) == 0


@pytest.mark.parametrize("value", [b"0123456789abcdef", DEAD.model_dump_json()])
async def test_living_holder_is_named_when_the_wait_ends(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, value: bytes | str
) -> None:
    monkeypatch.setattr(lock, "TIMEOUT", 0.1)
    await redis.set(KEY, value)
    with pytest.raises(StoreError, match=r"another apply \((pid 4711 on web-1|of unknown).* try again"):
        async with exclusive_lock(redis, KEY, "apply"):
            pass
