from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.core.errors import StoreUnavailable
from relay.store.inbox import memory_guard
from relay.store.inbox.memory_guard import MemoryGuard, memory_of
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_guard, "_POLL_INTERVAL", 0.01)


@asynccontextmanager
async def filled(redis: Redis, fill: float) -> AsyncIterator[None]:
    """Set `maxmemory` so that Redis uses this part of it."""
    for number in range(40):  # a few connections more or less do not matter then
        await redis.set(f"ballast:{number}", bytes(512 * 1024))
    used = (await memory_of(redis)).used
    await redis.config_set("maxmemory", round(used / fill))
    try:
        yield
    finally:
        await redis.config_set("maxmemory", 0)


async def test_accepts_without_a_limit_and_below_the_mark(redis: Redis) -> None:
    async with MemoryGuard(redis) as guard:
        guard.check()
        async with filled(redis, 0.5):
            assert 0.4 < (await memory_of(redis)).fill < 0.6
            guard.check()


async def test_refuses_at_the_mark_and_accepts_again_below_it(redis: Redis) -> None:
    with capture_logs() as logs:
        async with MemoryGuard(redis) as guard:
            async with filled(redis, 0.96):
                await eventually(lambda: guard.refusal is not None)
                with pytest.raises(StoreUnavailable, match=r"nearly full: 9\d% of maxmemory, .* up to 90%"):
                    guard.check()
                assert await redis.set("delivering", "goes on")
            await eventually(lambda: guard.refusal is None)
            guard.check()
    assert [line["event"] for line in logs] == ["redis.nearly_full", "redis.has_room"]
    assert "refused with 503, which Linq retries" in logs[0]["note"]


async def test_accepts_up_to_maxmemory_if_memory_is_unreadable(redis: Redis) -> None:
    await redis.acl_setuser("blind", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
    try:
        options = redis.connection_pool.connection_kwargs | {"username": "blind", "password": ""}
        async with type(redis)(**{name: options[name] for name in ("host", "port", "username", "password")}) as blind:
            with capture_logs() as logs:
                async with MemoryGuard(blind) as guard, filled(redis, 0.96):
                    await eventually(lambda: bool(logs))
                    guard.check()
    finally:
        await redis.acl_deluser("blind")
    assert [line["event"] for line in logs] == ["redis.memory_unknown"]
