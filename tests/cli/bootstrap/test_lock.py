"""`relay bootstrap apply` while another one runs and is terminated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cli.running import ended, line_with, relay_process
from tests.sandbox.running import linq_error
from tests.support import KEYS

if TYPE_CHECKING:
    from aiohttp import web

    from relay.store.driver.client import Redis
    from tests.sandbox.running import RunningSandbox


async def test_second_apply_names_the_first_and_follows_it(sandbox: RunningSandbox, redis: Redis) -> None:
    creating, terminating, terminated = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and not terminating.is_set():
            creating.set()
            await terminated.wait()
            return linq_error(500, 3006, "Internal error")
        return None

    async def is_with(process: asyncio.subprocess.Process) -> bool:
        return f'"pid":{process.pid},' in str(await redis.get(KEYS.keyring_lock))

    sandbox.intercept = hang
    async with relay_process("bootstrap", "apply") as first:
        await creating.wait()
        async with relay_process("bootstrap", "apply") as second:
            said = await line_with("holds the lock", second.stderr)
            assert f"another bootstrap (pid {first.pid} on " in said
            assert await is_with(first)
            terminating.set()
            first.terminate()
            assert (await ended(first)).code == 143
            assert not await is_with(first)  # released, not expired
            terminated.set()
            assert (await ended(second)).code == 0
    assert len(sandbox.sandbox.state.subscriptions) == 3
    assert await redis.exists(KEYS.keyring_lock) == 0
