"""`relay bootstrap apply` is killed at every step: the next run heals, orphans no subscription, loses no event."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import asynccontextmanager
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from relay.bootstrap.factory import open_reconciler
from relay.bootstrap.plan import Action
from relay.config.file import read_config
from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.ingress_parts import ingress_parts
from relay.process.tasks import end_task
from relay.process.timings import Timings
from relay.sandbox.app import Emission
from relay.web.health import Readiness
from relay.web.server import listening_for_webhooks
from tests.bootstrap.bench import LINES_ONLY
from tests.forked.process import start_python
from tests.sandbox.running import ANY_PORT, API_KEY, LINES, RunningSandbox, linq_error, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from relay.store.driver.client import Redis

pytestmark = [pytest.mark.slow, pytest.mark.background, pytest.mark.timeout(180)]  # seconds, also on a busy machine

RULES = f'{LINES_ONLY}[[topics]]\nname = "all"\nevents = ["message.*"]\n'


@asynccontextmanager
async def traffic(sandbox: RunningSandbox) -> AsyncIterator[None]:
    """Emit events on every line, one after the other, while the context is open."""

    async def emit() -> None:
        for line in cycle(LINES):
            sandbox.sandbox.emit(Emission(type="message.received", line=line))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(emit())
    try:
        yield
    finally:
        await end_task(task)


async def run_and_kill(sandbox: RunningSandbox, method: str, number: int, when: str, *command: str | Path) -> None:
    """Run `relay bootstrap` with a command, and kill it at its `number`th call with `method`.

    Either before Linq carries out the call, before the response arrives, or at a random time shortly afterwards.
    """
    process = await start_python("relay", "bootstrap", *map(str, command), stdout=asyncio.subprocess.DEVNULL)
    calls = 0

    async def kill(request: web.Request) -> web.StreamResponse | None:
        nonlocal calls
        calls += request.method == method
        if request.method != method or calls != number or process.returncode is not None:
            return None
        if when == "afterwards":
            asyncio.get_running_loop().call_later(random.random() * 0.03, process.kill)
            return None
        process.kill()
        await process.wait()
        return linq_error(500, 3006, "Internal error") if when == "before the call" else None

    sandbox.intercept = kill
    await process.wait()
    sandbox.intercept = None
    assert process.returncode == -signal.SIGKILL or when == "afterwards"


@pytest.mark.parametrize(
    ("secrets", "method", "number", "when"),
    [
        # A GET changes nothing at Linq, so "before the call" and "before the response" are the same for it.
        *(("none yet", "GET", 1, when) for when in ("before the call", "afterwards")),
        *(
            (secrets, method, number, when)
            for secrets, method, number in (
                ("none yet", "POST", 1),
                ("none yet", "POST", 3),
                ("lost", "POST", 2),
                ("lost", "DELETE", 2),
                ("of an older release", "PUT", 2),
            )
            for when in ("before the call", "before the response", "afterwards")
        ),
    ],
)
async def test_next_apply_heals_after_kill(
    redis: Redis,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    secrets: str,
    method: str,
    number: int,
    when: str,
) -> None:
    (tmp_path / "relay.toml").write_text(RULES)
    variables = {"REDIS_URL": redis_url, "RELAY_SECRET_KEY": new_key(), "LINQ_API_V3_API_KEY": API_KEY}
    async with running_sandbox() as sandbox:
        for name, value in {**variables, "LINQ_API_V3_BASE_URL": sandbox.base_url}.items():
            monkeypatch.setenv(name, value)
        async with (
            ingress_parts(Settings.load()) as parts,
            listening_for_webhooks(parts, Readiness(parts), ANY_PORT, timings=Timings(drain_idle=0.02)) as port,
        ):
            monkeypatch.setenv("RELAY_PUBLIC_URL", f"http://127.0.0.1:{port}")
            settings = Settings.load()
            config = read_config(settings.relay_config)
            async with open_reconciler(settings, redis, config) as reconciler, traffic(sandbox):
                if secrets != "none yet":
                    await reconciler.apply(lambda _: None)
                if secrets == "lost":
                    await redis.delete(redis.key.keyring)
                if secrets == "of an older release":
                    for there in sandbox.sandbox.state.subscriptions.values():
                        there.target_url = there.target_url.partition("&owner=")[0]
                    await redis.delete(redis.key.linq_owner)
                await run_and_kill(sandbox, method, number, when, "apply")
                await redis.delete(redis.key.keyring_lock)  # it would expire seconds after its owner
                assert [done.error for done in await reconciler.apply(lambda _: None) if done.error] == []
                steps = await reconciler.plan()
            assert sorted((step.action, step.line) for step in steps) == [(Action.KEEP, line) for line in LINES]
            deliveries = await sandbox.settled()
        remaining = {subscription.id for subscription in sandbox.sandbox.state.subscriptions.values()}
        assert len(remaining) == len(LINES)
    # Many webhooks without a secret exceed their sender's budget of failures; Linq retries 429 as well.
    assert {attempt.status for delivery in deliveries for attempt in delivery.attempts} <= {200, 429, 503}
    assert {delivery.state for delivery in deliveries if delivery.subscription_id in remaining} <= {"delivered"}
