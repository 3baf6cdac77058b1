"""The reaction to Linq's events: one look, the repairs that are allowed, and nothing that no look confirms."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from relay.bootstrap.factory import open_reconciler
from relay.bootstrap.reactions import ASSIGNED, LIST_TIMEOUT_MS, RELEASED
from relay.config.file import ConfigFile
from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.store.account_events import AccountEvent, AccountEvents
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, linq_error, running_sandbox
from tests.support import KEYS, Clock
from workers.maintenance.linq.drift_check import DriftCheck
from workers.maintenance.linq.reactions import LinqReactions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from relay.sandbox.state import Subscription
    from relay.store.driver.client import Redis

DISABLED = "webhook_subscription.disabled"
NEW_LINE = "+16465550199"
GONE = LINES[2]
RULES = '[linq]\nheal = {heal}\n[[topics]]\nname = "all"\nevents = ["message.*"]\n'


@dataclass
class Reacting:
    """The reaction of a worker whose lines are registered at a sandbox."""

    sandbox: RunningSandbox
    reactions: LinqReactions
    events: AccountEvents
    clock: Clock

    @property
    def now_ms(self) -> int:
        return round(self.clock.now * 1000)

    async def hear(self, kind: str, line: str | None = None) -> None:
        """Note an event, as the router does, and react after the time between two looks."""
        await self.events.note([AccountEvent(kind, line, self.now_ms)], self.now_ms)
        await self.react()

    async def react(self, after: float = 3.0) -> None:
        self.clock.now += after
        await self.reactions.react()

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        """The subscriptions at Linq by line; the account's by an empty text."""
        found = self.sandbox.sandbox.state.subscriptions.values()
        return {next(iter(each.phone_numbers or ()), ""): each for each in found}

    @property
    def looks(self) -> int:
        return self.sandbox.calls.count("GET /v3/phone_numbers")


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox((*LINES, "+16465550126"), allow_local=False) as running:
        yield running


async def reacting(
    sandbox: RunningSandbox, redis: Redis, redis_url: str, directory: Path, *, heal: bool = True, has_key: bool = True
) -> Reacting:
    rules_file = directory / "relay.toml"
    rules_file.write_text(RULES.format(heal=str(heal).lower()))
    settings = Settings(
        redis_url=redis_url,
        relay_public_url="https://relay.example.com",
        relay_secret_key=SecretStr(new_key()),
        linq_api_v3_api_key=SecretStr(API_KEY),
        linq_api_v3_base_url=sandbox.base_url,
    )
    rules, clock = ConfigFile(rules_file), Clock(time.time())
    async with open_reconciler(settings, redis, rules.current.config) as reconciler:
        assert all(done.error is None for done in await reconciler.apply(lambda _: None))
    if not has_key:
        settings = settings.model_copy(update={"linq_api_v3_api_key": None})
    check = DriftCheck(redis, rules, settings, clock)
    sandbox.calls.clear()
    return Reacting(sandbox, LinqReactions(redis, rules, settings, check, clock), AccountEvents(redis), clock)


@pytest.mark.parametrize("heal", [True, False], ids=["healed", "only logged"])
async def test_disabled_subscription_is_on_again_if_allowed(
    redis: Redis, redis_url: str, sandbox: RunningSandbox, tmp_path: Path, *, heal: bool
) -> None:
    relay = await reacting(sandbox, redis, redis_url, tmp_path, heal=heal)
    relay.subscriptions[GONE].is_active = False
    with capture_logs() as logs:
        await relay.hear(DISABLED)
    (line,) = [line for line in logs if line["event"] == "linq.event"]
    assert (line["log_level"], "heal is off" in line.get("note", "")) == ("warning" if heal else "error", not heal)
    assert relay.subscriptions[GONE].is_active == heal
    assert await redis.hget(KEYS.drift, "v3:inactive") == b"1"  # type: ignore[misc]
    assert await redis.xlen(KEYS.linq_events) == 0


async def test_new_line_is_registered_once_linq_lists_it(
    redis: Redis, redis_url: str, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    relay = await reacting(sandbox, redis, redis_url, tmp_path)
    await relay.hear(ASSIGNED, NEW_LINE)
    assert NEW_LINE not in relay.subscriptions
    sandbox.sandbox.state.lines.append(NEW_LINE)
    await relay.react()
    assert relay.subscriptions[NEW_LINE].is_active
    assert await redis.xlen(KEYS.linq_events) == 0


async def test_released_line_is_retired_by_one_look_that_confirms(
    redis: Redis, redis_url: str, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    relay = await reacting(sandbox, redis, redis_url, tmp_path)
    sandbox.sandbox.state.lines.remove(GONE)
    await relay.hear(DISABLED)  # a look for another reason deletes nothing, and does not count
    await relay.hear(DISABLED)
    assert GONE in relay.subscriptions
    assert await redis.hgetall(KEYS.linq_looks) == {}  # type: ignore[misc]
    await relay.hear(RELEASED, GONE)
    assert GONE not in relay.subscriptions
    assert await redis.xlen(KEYS.linq_events) == 0


async def test_forged_release_deletes_nothing_that_linq_lists(
    redis: Redis, redis_url: str, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    relay = await reacting(sandbox, redis, redis_url, tmp_path)
    for line in sandbox.sandbox.state.lines:
        await relay.hear(RELEASED, line)
    sandbox.sandbox.state.lines[1:] = []  # a short list: too much is gone at once, whatever Linq has said
    await relay.react()
    assert len(relay.subscriptions) == 5
    assert not sandbox.changes
    sandbox.sandbox.state.lines[1:] = [*LINES[1:], "+16465550126"]
    await relay.react(LIST_TIMEOUT_MS / 1000)
    assert await redis.xlen(KEYS.linq_events) == 0
    assert not sandbox.changes


async def test_storm_of_events_is_not_a_storm_of_calls(
    redis: Redis, redis_url: str, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    relay = await reacting(sandbox, redis, redis_url, tmp_path)
    storm = [AccountEvent(DISABLED, None, relay.now_ms)] * 2000
    for _ in range(240):  # a minute
        await relay.events.note(storm[:50], relay.now_ms)
        await relay.react(0.25)
    assert relay.looks <= 13
    await relay.events.note(storm, relay.now_ms)
    assert await redis.xlen(KEYS.linq_events) == 500


async def test_failing_api_delays_the_reaction_only(
    redis: Redis, redis_url: str, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    refused = "GET"

    async def refuse(request: web.Request) -> web.StreamResponse | None:
        return linq_error(403, 2011, "Feature not enabled") if request.method == refused else None

    relay = await reacting(sandbox, redis, redis_url, tmp_path)
    relay.subscriptions[GONE].is_active = False
    sandbox.intercept = refuse
    await relay.hear(DISABLED)
    refused = "PUT"
    await relay.react()
    assert not relay.subscriptions[GONE].is_active
    refused = ""
    await relay.react()
    assert relay.subscriptions[GONE].is_active
    assert await redis.xlen(KEYS.linq_events) == 0


async def test_worker_without_the_key_leaves_events_to_others(
    redis: Redis, redis_url: str, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    relay = await reacting(sandbox, redis, redis_url, tmp_path, has_key=False)
    await relay.hear(DISABLED)
    assert await redis.xlen(KEYS.linq_events) == 1
    assert await relay.reactions.next_look() is None
    with capture_logs() as logs:
        await relay.react(61)
    assert [(line["event"], line["types"]) for line in logs] == [("linq.unanswered", [DISABLED])]
    assert await redis.xlen(KEYS.linq_events) == 0
