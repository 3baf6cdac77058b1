"""The drift check: changes at Linq are logged, counted, and repaired if relay.toml allows it."""

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
from relay.store.lines.linq_facts import read_facts
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, linq_error, running_sandbox
from tests.support import KEYS, hash_of
from workers.maintenance.linq.drift_check import DriftCheck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from relay.store.driver.client import Redis

RULES = '[linq]\naccount = false\nheal = {heal}\n[[topics]]\nname = "all"\nevents = ["message.*"]\n'


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """A sandbox in the place of Linq."""
    async with running_sandbox(allow_local=False) as running:
        yield running


@pytest.fixture
def settings(sandbox: RunningSandbox, redis_url: str) -> Settings:
    """Settings with all that the check needs."""
    return Settings(
        redis_url=redis_url,
        relay_public_url="https://relay.example.com",
        relay_secret_key=SecretStr(new_key()),
        linq_api_v3_api_key=SecretStr(API_KEY),
        linq_api_v3_base_url=sandbox.base_url,
    )


def drift_check(redis: Redis, settings: Settings, directory: Path, *, heal: bool, ahead: float = 0.0) -> DriftCheck:
    rules = directory / "relay.toml"
    rules.write_text(RULES.format(heal=str(heal).lower()))
    return DriftCheck(redis, ConfigFile(rules), settings, lambda: time.time() + ahead)


async def register(redis: Redis, settings: Settings, check: DriftCheck) -> None:
    async with open_reconciler(settings, redis, check._rules.current.config) as reconciler:
        assert all(done.error is None for done in await reconciler.apply(lambda _: None))


async def log_of(check: DriftCheck) -> dict[str, Any]:
    """Run a check and return its log line."""
    with capture_logs() as logs:
        await check.check()
    (line,) = [dict(line) for line in logs if line["event"].startswith("bootstrap.")]
    return line


@pytest.mark.parametrize("heal", [False, True], ids=["only logged", "healed"])
async def test_drift_is_logged_counted_and_healed_if_enabled(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path, *, heal: bool
) -> None:
    check = drift_check(redis, settings, tmp_path, heal=heal)
    await register(redis, settings, check)
    assert (await log_of(check))["log_level"] == "info"

    first, second, _ = sandbox.sandbox.state.subscriptions.values()
    first.is_active = False
    del sandbox.sandbox.state.subscriptions[second.id]
    logged = await log_of(check)
    assert (logged["log_level"], logged["inactive"], logged["missing"]) == ("warning", 1, 1)
    drift = await hash_of(redis, KEYS.drift)
    assert (drift["v3:inactive"], drift["v3:missing"], drift["v3:extra"]) == ("1", "1", "0")
    assert abs(int(drift["v3:at"]) - time.time()) < 60
    assert len(sandbox.sandbox.state.subscriptions) == (3 if heal else 2)
    assert (await log_of(check))["missing"] == (0 if heal else 1)


async def test_one_short_list_does_not_delete_a_live_line(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    await register(redis, settings, drift_check(redis, settings, tmp_path, heal=True))
    removed = sandbox.sandbox.state.lines.pop()

    async def look(number: int) -> tuple[int, int]:
        """Return the count of superfluous subscriptions, and that of all after the check."""
        logged = await log_of(drift_check(redis, settings, tmp_path, heal=True, ahead=number * 300))
        return logged["extra"], len(sandbox.sandbox.state.subscriptions)

    assert [await look(number) for number in range(2)] == [(1, 3)] * 2
    sandbox.sandbox.state.lines.append(removed)
    assert await look(2) == (0, 3)
    assert await redis.exists(KEYS.linq_looks) == 0
    sandbox.sandbox.state.lines.pop()
    assert [await look(number) for number in range(3, 6)] == [(1, 3), (1, 3), (1, 2)]


async def test_each_account_is_checked_and_healed_by_itself(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    check = drift_check(redis, settings, tmp_path, heal=True)
    rules = tmp_path / "relay.toml"
    (tmp_path / "sales.key").write_text("sales-key")
    rules.write_text(f'{rules.read_text()}\n[[linq.accounts]]\nname = "sales"\nkey = "file:sales.key"\n')
    sandbox.sandbox.state.accounts["sales-key"] = [LINES[2]]
    check = DriftCheck(redis, ConfigFile(rules), settings.model_copy(update={"relay_config": rules}), time.time)
    await check.check()
    drift = await hash_of(redis, KEYS.drift)
    assert (drift["v3:missing"], drift["v3/sales:missing"]) == ("2", "1")
    del sandbox.sandbox.state.accounts["sales-key"]  # its key is refused now
    sandbox.sandbox.state.subscriptions.clear()
    with capture_logs() as logs:
        await check.check()
    failed = [line for line in logs if line["event"] == "bootstrap.check_failed"]
    assert ["Linq refuses" in line["error"] for line in failed] == [True]


async def test_heal_never_takes_over_from_another_relay(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    check = drift_check(redis, settings, tmp_path, heal=True)
    await register(redis, settings, check)
    await redis.flushall()
    sandbox.calls.clear()
    with capture_logs() as logs:
        await check.check()
    assert [line["event"] for line in logs] == ["bootstrap.checked", "bootstrap.check_failed"]
    assert (logs[0]["rival"], "--take-over" in logs[1]["error"]) == (3, True)
    assert sandbox.changes == []


async def test_silent_line_is_reported(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    check = drift_check(redis, settings, tmp_path, heal=True)
    await register(redis, settings, check)
    await redis.hset(KEYS.last_seen, LINES[0], f"{round((time.time() - 90_000) * 1000)} 1")  # type: ignore[misc]
    before = list(sandbox.changes)
    assert ((logged := await log_of(check))["log_level"], logged["silent"]) == ("warning", 1)
    assert sandbox.changes == before


async def test_rotation_is_completed_even_without_heal(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    check = drift_check(redis, settings, tmp_path, heal=False)
    await register(redis, settings, check)
    async with open_reconciler(settings, redis, check._rules.current.config) as reconciler:
        await reconciler.rotate(None, -1.0, lambda _: None)
    sandbox.sandbox.state.lines.append("+16465550199")  # a new line, which the check must not register
    await check.check()
    assert all("&gen=2&" in linq.target_url for linq in sandbox.sandbox.state.subscriptions.values())
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES)


async def test_api_error_is_logged_in_one_sentence(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    async def forbid(_: web.Request) -> web.StreamResponse:
        return linq_error(403, 2011, "Feature not enabled")

    sandbox.intercept = forbid
    logged = await log_of(drift_check(redis, settings, tmp_path, heal=True))
    assert (logged["event"], logged["log_level"]) == ("bootstrap.check_failed", "error")
    assert "Feature not enabled (status 403, code 2011)" in logged["error"]


@pytest.fixture
def with_v2(settings: Settings, sandbox: RunningSandbox) -> Settings:
    """Settings with all that the check of v2 needs, too."""
    return settings.model_copy(
        update={
            "linq_v2_token": SecretStr(API_KEY),
            "linq_v2_base_url": f"{sandbox.base_url}/v2",
            "linq_v2_webhook_secret": SecretStr("of our own choosing"),
        }
    )


def v2_drift_check(redis: Redis, settings: Settings, directory: Path, *, heal: bool) -> DriftCheck:
    drift_check(redis, settings, directory, heal=heal)
    rules = directory / "relay.toml"
    rules.write_text(f"[linq.v2]\n{rules.read_text()}")
    return DriftCheck(redis, ConfigFile(rules), settings, time.time)


async def logs_of(check: DriftCheck) -> dict[str, dict[str, Any]]:
    """Run a check and return its log line of each API."""
    with capture_logs() as logs:
        await check.check()
    return {line["api"]: dict(line) for line in logs if line["event"].startswith("bootstrap.")}


@pytest.mark.parametrize("heal", [False, True], ids=["only logged", "healed"])
async def test_v2_drift_is_checked_as_well(
    redis: Redis, with_v2: Settings, sandbox: RunningSandbox, tmp_path: Path, *, heal: bool
) -> None:
    check = v2_drift_check(redis, with_v2, tmp_path, heal=heal)
    logged = await logs_of(check)
    assert (logged["v3"]["missing"], logged["v2"]["missing"], logged["v2"]["log_level"]) == (3, 1, "warning")
    assert (await hash_of(redis, KEYS.drift))["v2:missing"] == "1"
    assert len(sandbox.sandbox.state.v2_subscriptions) == heal
    assert (await logs_of(check))["v2"]["missing"] == (not heal)


async def test_failure_of_one_api_does_not_stop_the_other(
    redis: Redis, with_v2: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    async def forbid(request: web.Request) -> web.StreamResponse | None:
        return linq_error(403, 2011, "Feature not enabled") if "/v3/" in request.path else None

    sandbox.intercept = forbid
    logged = await logs_of(v2_drift_check(redis, with_v2, tmp_path, heal=True))
    assert (logged["v3"]["event"], logged["v2"]["event"]) == ("bootstrap.check_failed", "bootstrap.checked")
    assert len(sandbox.sandbox.state.v2_subscriptions) == 1


async def test_v2_alone_is_checked(redis: Redis, with_v2: Settings, tmp_path: Path) -> None:
    check = v2_drift_check(redis, with_v2.model_copy(update={"linq_api_v3_api_key": None}), tmp_path, heal=True)
    assert check.is_possible
    assert set(await logs_of(check)) == {"v2"}


def test_check_needs_a_linq_api_key(redis: Redis, settings: Settings, tmp_path: Path) -> None:
    assert drift_check(redis, settings, tmp_path, heal=True).is_possible
    without = settings.model_copy(update={"linq_api_v3_api_key": None})
    assert not drift_check(redis, without, tmp_path, heal=True).is_possible


async def test_list_of_lines_is_recorded(
    redis: Redis, settings: Settings, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    check = drift_check(redis, settings, tmp_path, heal=False)
    await check.check()
    facts = await read_facts(redis)
    assert facts.keys() == {*LINES}
    assert {(each.kind, each.reputation, each.released_ms) for each in facts.values()} == {
        ("iMessage", "HEALTHY", None)
    }
    gone = sandbox.sandbox.state.lines.pop()
    seen = []
    for _ in range(4):
        seen.append((await read_facts(redis))[gone].released_ms)
        await check.check()
    assert seen == [None, None, None, facts[gone].listed_ms]  # three lists without it, as one may be incomplete
