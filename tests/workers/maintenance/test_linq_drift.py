"""The upkeep: what changed at Linq is said, counted, and repaired where relay.toml says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from relay.bootstrap.factory import open_reconciler
from relay.config.file import ConfigFile
from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.store import keys
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, linq_error, running_sandbox
from tests.support import hash_of
from workers.maintenance.linq_drift import DriftCheck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web
    from redis.asyncio import Redis

RULES = '[linq]\nheal = {heal}\n[[topics]]\nname = "all"\nevents = ["message.*"]\n'


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """A Linq."""
    async with running_sandbox(allow_local=False) as running:
        yield running


@pytest.fixture
def settings(sandbox: RunningSandbox, redis_url: str) -> Settings:
    """All that the upkeep needs."""
    return Settings(
        redis_url=redis_url,
        relay_public_url="https://relay.example.com",
        relay_secret_key=SecretStr(new_key()),
        linq_api_v3_api_key=SecretStr(API_KEY),
        linq_api_v3_base_url=sandbox.base_url,
    )


def upkeep_of(redis: Redis, settings: Settings, directory: Path, *, heal: bool, ahead: float = 0.0) -> DriftCheck:
    rules = directory / "relay.toml"
    rules.write_text(RULES.format(heal=str(heal).lower()))
    return DriftCheck(redis, ConfigFile(rules), settings, lambda: time.time() + ahead)


async def registered(redis: Redis, settings: Settings, upkeep: DriftCheck) -> None:
    async with open_reconciler(settings, redis, upkeep._rules.current.config) as reconciler:
        assert all(done.error is None for done in await reconciler.apply(lambda _: None))


async def checked(upkeep: DriftCheck) -> dict[str, Any]:
    """What a look says."""
    with capture_logs() as logs:
        await upkeep.check()
    (line,) = [dict(line) for line in logs if line["event"].startswith("bootstrap.")]
    return line


@pytest.mark.parametrize("heal", [False, True], ids=["only said", "healed"])
async def test_drift_is_logged_counted_and_healed_if_enabled(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path, *, heal: bool
) -> None:
    upkeep = upkeep_of(redis, settings, tmp_path, heal=heal)
    await registered(redis, settings, upkeep)
    assert (await checked(upkeep))["log_level"] == "info"

    first, second, _ = sandbox.sandbox.state.subscriptions.values()
    first.is_active = False
    del sandbox.sandbox.state.subscriptions[second.id]
    said = await checked(upkeep)
    assert (said["log_level"], said["inactive"], said["missing"]) == ("warning", 1, 1)
    drift = await hash_of(redis, keys.DRIFT)
    assert (drift["v3:inactive"], drift["v3:missing"], drift["v3:extra"]) == ("1", "1", "0")
    assert abs(int(drift["v3:at"]) - time.time()) < 60
    assert len(sandbox.sandbox.state.subscriptions) == (3 if heal else 2)
    assert (await checked(upkeep))["missing"] == (0 if heal else 1)


async def test_silent_line_is_reported(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    upkeep = upkeep_of(redis, settings, tmp_path, heal=True)
    await registered(redis, settings, upkeep)
    await redis.hset(keys.LAST_SEEN, LINES[0], f"{round((time.time() - 90_000) * 1000)} 1")  # type: ignore[misc]
    before = list(sandbox.changes)
    assert ((said := await checked(upkeep))["log_level"], said["silent"]) == ("warning", 1)
    assert sandbox.changes == before


async def test_rotation_is_completed_even_without_heal(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    upkeep = upkeep_of(redis, settings, tmp_path, heal=False)
    await registered(redis, settings, upkeep)
    async with open_reconciler(settings, redis, upkeep._rules.current.config) as reconciler:
        await reconciler.rotate(None, -1.0, lambda _: None)
    sandbox.sandbox.state.lines.append("+16465550199")  # which is not registered for that
    await upkeep.check()
    assert {one.target_url[-5:] for one in sandbox.sandbox.state.subscriptions.values()} == {"gen=2"}
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES)


async def test_api_error_is_logged_in_one_sentence(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    async def forbid(_: web.Request) -> web.StreamResponse:
        return linq_error(403, 2011, "Feature not enabled")

    sandbox.intercept = forbid
    said = await checked(upkeep_of(redis, settings, tmp_path, heal=True))
    assert (said["event"], said["log_level"]) == ("bootstrap.check_failed", "error")
    assert "Feature not enabled (status 403, code 2011)" in said["error"]


@pytest.fixture
def with_v2(settings: Settings, sandbox: RunningSandbox) -> Settings:
    """All that the upkeep of v2 needs, too."""
    return settings.model_copy(
        update={
            "linq_v2_token": SecretStr(API_KEY),
            "linq_v2_base_url": f"{sandbox.base_url}/v2",
            "linq_v2_webhook_secret": SecretStr("of our own choosing"),
        }
    )


def upkeep_of_v2(redis: Redis, settings: Settings, directory: Path, *, heal: bool) -> DriftCheck:
    upkeep = upkeep_of(redis, settings, directory, heal=heal)
    rules = directory / "relay.toml"
    rules.write_text(f"[linq.v2]\n{rules.read_text()}")
    return DriftCheck(redis, ConfigFile(rules), settings, upkeep._clock)


async def looked(upkeep: DriftCheck) -> dict[str, dict[str, Any]]:
    """What a look says of each API."""
    with capture_logs() as logs:
        await upkeep.check()
    return {line["api"]: dict(line) for line in logs if line["event"].startswith("bootstrap.")}


@pytest.mark.parametrize("heal", [False, True], ids=["only said", "healed"])
async def test_v2_drift_is_checked_as_well(
    redis: Redis, with_v2: Settings, sandbox: RunningSandbox, tmp_path: Path, *, heal: bool
) -> None:
    upkeep = upkeep_of_v2(redis, with_v2, tmp_path, heal=heal)
    said = await looked(upkeep)
    assert (said["v3"]["missing"], said["v2"]["missing"], said["v2"]["log_level"]) == (3, 1, "warning")
    assert (await hash_of(redis, keys.DRIFT))["v2:missing"] == "1"
    assert len(sandbox.sandbox.state.v2_subscriptions) == heal
    assert (await looked(upkeep))["v2"]["missing"] == (not heal)


async def test_failure_of_one_api_does_not_stop_the_other(
    redis: Redis, with_v2: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    async def forbid(request: web.Request) -> web.StreamResponse | None:
        return linq_error(403, 2011, "Feature not enabled") if "/v3/" in request.path else None

    sandbox.intercept = forbid
    said = await looked(upkeep_of_v2(redis, with_v2, tmp_path, heal=True))
    assert (said["v3"]["event"], said["v2"]["event"]) == ("bootstrap.check_failed", "bootstrap.checked")
    assert len(sandbox.sandbox.state.v2_subscriptions) == 1


def test_check_needs_a_linq_api_key(redis: Redis, settings: Settings, tmp_path: Path) -> None:
    assert upkeep_of(redis, settings, tmp_path, heal=True).is_possible
    without = settings.model_copy(update={"linq_api_v3_api_key": None})
    assert not upkeep_of(redis, without, tmp_path, heal=True).is_possible
