"""`relay up`: what it needs, and that registering the lines goes on until it has worked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.cli.up import _bootstrap, load_all
from relay.config.file import ConfigFile
from relay.config.settings import Settings
from relay.core.errors import ConfigError, SettingsError
from relay.core.secret import new_key
from relay.process.tasks import end_task
from relay.process.timings import Timings
from tests.bootstrap.bench import LINES_ONLY
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, linq_error, running_sandbox
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from relay.store.driver.client import Redis

KEY = new_key()
TIMINGS = Timings(config_poll=0.01, bootstrap_retry=0.01, bootstrap_poll=0.01)


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, rules: Path) -> None:
    """Everything that `up` needs with a Linq key."""
    del rules  # it only has to be there
    monkeypatch.setenv("RELAY_SECRET_KEY", KEY)
    monkeypatch.setenv("RELAY_PUBLIC_URL", "https://relay.example.com")
    monkeypatch.setenv("LINQ_API_V3_API_KEY", API_KEY)


@pytest.fixture
async def sandbox(complete: None, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSandbox]:
    """A sandbox in Linq's place."""
    del complete
    async with running_sandbox(allow_local=False) as running:
        monkeypatch.setenv("LINQ_API_V3_BASE_URL", running.base_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        yield running


@pytest.mark.usefixtures("complete")
def test_complete_environment_gives_settings() -> None:
    assert load_all().relay_public_url == "https://relay.example.com"


@pytest.mark.usefixtures("rules")
def test_public_url_is_needed_only_with_an_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_SECRET_KEY", KEY)
    assert load_all().relay_public_url is None
    monkeypatch.setenv("LINQ_API_V3_API_KEY", API_KEY)
    with pytest.raises(SettingsError, match="RELAY_PUBLIC_URL"):
        load_all()


@pytest.mark.usefixtures("complete")
def test_invalid_config_stops_it(rules: Path) -> None:
    rules.write_text("[[topics]]\n")
    with pytest.raises(ConfigError):
        load_all()


def test_environment_and_config_errors_are_reported_together(rules: Path) -> None:
    rules.write_text('[[topics]]\nname = "x"\nevents = ["a..b"]\n')
    with pytest.raises((SettingsError, ConfigError)) as wrong:
        load_all()
    assert "RELAY_SECRET_KEY" in str(wrong.value)
    assert "a..b" in str(wrong.value)


@pytest.mark.usefixtures("complete")
def test_missing_v2_variables_stop_the_start(rules: Path) -> None:
    rules.write_text(f"[linq.v2]\n{rules.read_text()}")
    with pytest.raises(ConfigError) as wrong:
        load_all()
    assert {problem.place for problem in wrong.value.problems} == {"LINQ_V2_TOKEN", "LINQ_V2_WEBHOOK_SECRET"}


@asynccontextmanager
async def registering(rules: Path) -> AsyncIterator[None]:
    """The part of `relay up` that registers lines, at work."""
    task = asyncio.create_task(_bootstrap(Settings.load(), ConfigFile(rules, TIMINGS.config_poll), TIMINGS))
    try:
        yield
        assert not task.done()
    finally:
        await end_task(task)


def has_all(sandbox: RunningSandbox) -> bool:
    """Whether every line has its subscription, and the account."""
    return len(sandbox.sandbox.state.subscriptions) == len(LINES) + 1


async def test_lines_are_registered_once(sandbox: RunningSandbox, redis: Redis, rules: Path) -> None:
    async def are_stored() -> bool:
        return bool(await redis.hlen(KEYS.keyring) == len(LINES) + 1)  # type: ignore[misc]

    async with registering(rules):
        await eventually(are_stored)
    assert has_all(sandbox)
    assert len(sandbox.changes) == len(LINES) + 1


async def test_changed_config_is_applied_at_linq(sandbox: RunningSandbox, rules: Path) -> None:
    def subscribed() -> set[str]:
        return {event for subscription in sandbox.sandbox.state.subscriptions.values() for event in subscription.events}

    rules.write_text(LINES_ONLY + '[[topics]]\nname = "all"\nevents = ["message.received"]\n')
    async with registering(rules):
        await eventually(lambda: subscribed() == {"message.received"})
        rules.write_text("not TOML")
        rules.write_text(LINES_ONLY + '[[topics]]\nname = "all"\nevents = ["message.received", "message.sent"]\n')
        await eventually(lambda: subscribed() == {"message.received", "message.sent"})


async def test_failing_linq_is_retried(sandbox: RunningSandbox, rules: Path) -> None:
    refused = 0

    async def failing_at_first(_: web.Request) -> web.StreamResponse | None:
        nonlocal refused
        refused += 1
        return linq_error(500, 3006, "Internal error") if refused <= 5 else None

    sandbox.intercept = failing_at_first
    async with registering(rules):
        await eventually(lambda: has_all(sandbox))
    assert refused > 5


async def test_failed_line_is_retried(sandbox: RunningSandbox, rules: Path) -> None:
    refused = 0

    async def refuse_the_first_create(request: web.Request) -> web.StreamResponse | None:
        nonlocal refused
        if request.method == "POST" and not refused:
            refused += 1
            return linq_error(500, 3006, "Internal error")
        return None

    sandbox.intercept = refuse_the_first_create
    async with registering(rules):
        await eventually(lambda: has_all(sandbox))
    assert refused == 1


async def test_failing_redis_is_retried(
    sandbox: RunningSandbox, no_redis: str, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", no_redis)
    with capture_logs() as logs:
        async with registering(rules):
            await eventually(lambda: len(logs) > 2)
    assert {line["event"] for line in logs} == {"bootstrap.failed"}
    assert sandbox.changes == []


async def test_v2_is_registered_without_a_v3_key(
    sandbox: RunningSandbox, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINQ_API_V3_API_KEY")
    monkeypatch.setenv("LINQ_V2_TOKEN", API_KEY)
    monkeypatch.setenv("LINQ_V2_BASE_URL", f"{sandbox.base_url}/v2")
    monkeypatch.setenv("LINQ_V2_WEBHOOK_SECRET", "of our own choosing")
    assert load_all().linq_api_v3_api_key is None
    with capture_logs() as logs:
        async with registering(rules):
            await eventually(lambda: logs)
            rules.write_text(f"[linq.v2]\n{rules.read_text()}")
            await eventually(lambda: any(line["event"] == "bootstrap.applied" for line in logs))
    said = {line["event"]: line for line in logs}
    assert "relay.toml has no [linq.v2]" in said["bootstrap.skipped"]["note"]
    assert "only the v2 subscription" in said["bootstrap.note"]["note"]
    assert said["bootstrap.applied"]["create"] == len(sandbox.sandbox.state.v2_subscriptions) == 1
    assert not sandbox.sandbox.state.subscriptions


def test_v2_variables_are_needed_with_its_token(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules.write_text(f"[linq.v2]\n{rules.read_text()}")
    monkeypatch.setenv("RELAY_SECRET_KEY", KEY)
    load_all()  # another machine registers
    monkeypatch.setenv("LINQ_V2_TOKEN", API_KEY)
    with pytest.raises(ConfigError) as wrong:
        load_all()
    assert {problem.place for problem in wrong.value.problems} == {"RELAY_PUBLIC_URL", "LINQ_V2_WEBHOOK_SECRET"}


@pytest.mark.usefixtures("complete")
def test_invalid_public_url_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_URL", "http://127.0.0.1:8080")
    with pytest.raises(ConfigError, match=r"RELAY_PUBLIC_URL.*must be https"):
        load_all()
