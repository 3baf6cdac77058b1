"""`relay up`: what it needs, and that registering the lines goes on until it has worked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.cli import group
from relay.core.errors import ConfigError, SettingsError
from relay.core.secret import new_key
from relay.settings import Settings
from relay.store import names
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, linq_error, running_sandbox
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web
    from redis.asyncio import Redis

KEY = new_key()


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, rules: Path) -> None:
    """Everything that `up` needs with a Linq key."""
    del rules  # it only has to be there
    monkeypatch.setenv("RELAY_SECRET_KEY", KEY)
    monkeypatch.setenv("RELAY_PUBLIC_URL", "https://relay.example.com")
    monkeypatch.setenv("LINQ_API_V3_API_KEY", API_KEY)


@pytest.fixture
async def sandbox(complete: None, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSandbox]:
    """A sandbox in Linq's place, and no time between two attempts to reach it."""
    del complete
    monkeypatch.setattr(group, "_BOOTSTRAP_PAUSE", 0.01)
    async with running_sandbox(allow_local=False) as running:
        monkeypatch.setenv("LINQ_API_V3_BASE_URL", running.base_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        yield running


@pytest.mark.usefixtures("complete")
def test_with_everything_there_the_settings_are_given() -> None:
    assert group.load_all().relay_public_url == "https://relay.example.com"


@pytest.mark.usefixtures("rules")
def test_a_public_url_is_needed_only_with_a_linq_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_SECRET_KEY", KEY)
    assert group.load_all().relay_public_url is None
    monkeypatch.setenv("LINQ_API_V3_API_KEY", API_KEY)
    with pytest.raises(SettingsError, match="RELAY_PUBLIC_URL"):
        group.load_all()


@pytest.mark.usefixtures("complete")
def test_rules_that_are_wrong_stop_it(rules: Path) -> None:
    rules.write_text("[[topics]]\n")
    with pytest.raises(ConfigError):
        group.load_all()


def test_mistakes_in_environment_and_rules_are_told_together(rules: Path) -> None:
    rules.write_text('[[topics]]\nname = "x"\nevents = ["a..b"]\n')
    with pytest.raises((SettingsError, ConfigError)) as wrong:
        group.load_all()
    assert "RELAY_SECRET_KEY" in str(wrong.value)
    assert "a..b" in str(wrong.value)


async def test_the_lines_are_registered_and_then_it_is_done(sandbox: RunningSandbox, redis: Redis) -> None:
    await asyncio.wait_for(group._bootstrap(Settings.load()), 10)
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES) + 1  # and the account's
    assert await redis.hlen(names.KEYRING) == len(LINES) + 1  # type: ignore[misc]


async def test_a_linq_that_is_in_trouble_is_asked_again(sandbox: RunningSandbox) -> None:
    refused = 0

    async def in_trouble_at_first(_: web.Request) -> web.StreamResponse | None:
        nonlocal refused
        refused += 1
        return linq_error(500, 3006, "Internal error") if refused <= 5 else None

    sandbox.intercept = in_trouble_at_first
    await asyncio.wait_for(group._bootstrap(Settings.load()), 10)
    assert refused > 5
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES) + 1  # and the account's


async def test_a_line_that_failed_is_tried_again(sandbox: RunningSandbox) -> None:
    refused = 0

    async def refuse_the_first_create(request: web.Request) -> web.StreamResponse | None:
        nonlocal refused
        if request.method == "POST" and not refused:
            refused += 1
            return linq_error(500, 3006, "Internal error")
        return None

    sandbox.intercept = refuse_the_first_create
    await asyncio.wait_for(group._bootstrap(Settings.load()), 10)
    assert refused == 1
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES) + 1  # and the account's


async def test_a_redis_that_is_in_trouble_is_asked_again(
    sandbox: RunningSandbox, no_redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", no_redis)
    with capture_logs() as logs:
        bootstrap = asyncio.create_task(group._bootstrap(Settings.load()))
        try:
            await eventually(lambda: bootstrap.done() or len(logs) > 2)
            assert not bootstrap.done()
        finally:
            bootstrap.cancel()
            with suppress(asyncio.CancelledError):
                await bootstrap
    assert {line["event"] for line in logs} == {"bootstrap.failed"}
    assert sandbox.changes == []


async def test_wrong_settings_are_not_tried_again(sandbox: RunningSandbox, rules: Path) -> None:
    rules.write_text("[[topics]]\n")
    await asyncio.wait_for(group._bootstrap(Settings.load()), 10)
    assert sandbox.calls == []
