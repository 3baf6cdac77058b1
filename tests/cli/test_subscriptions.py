"""`relay subscriptions`: push subscriptions are listed, paused, resumed and dropped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.core.delivery.circuit_breaker import OpenBreaker
from relay.core.delivery.outcome import Attempt, DeadLettered, Delivered, Outcome
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.lanes.suspensions import Pause, Suspensions
from relay.store.ledger.ledger import Ledger
from tests.cli.dead.conftest import bury
from tests.cli.running import main_here
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

TABLE = '[[subscriptions]]\nname = "{name}"\ntopic = "support"\nurl = "http://x"\nsecret = "env:S"\n'
RULES = '[[topics]]\nname = "support"\nevents = ["*"]\n' + "".join(TABLE.format(name=name) for name in ("bot", "crm"))
T = 1_789_377_302_417


@pytest.fixture(autouse=True)
async def _lanes(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    for name in ("bot", "crm", "former"):
        await Lane(redis, name, "support").ensure()
    await redis.xadd(KEYS.topic("support"), {"id": "e1", "body": "{}"})


async def states() -> dict[str, str]:
    said = await main_here("subscriptions", "list", "--json")
    return {row["subscription"]: row["state"] for row in said.json}


async def test_delivering_subscriptions() -> None:
    said = await main_here("subscriptions", "list")
    assert said.code == 0
    assert await states() == {"bot": "delivering", "crm": "delivering", "former": "removed"}
    assert "relay subscriptions drop" in said.out


async def test_suspended_subscription_shows_time_and_reason(redis: Redis) -> None:
    await Suspensions(redis).pause("bot", "it answered 410", T)
    await Suspensions(redis).save_open_breaker("crm", OpenBreaker(T, T + 8000, 3, "timed_out: "))
    said = await main_here("subscriptions", "list")
    assert said.code == 1
    assert all(text in said.out for text in ("paused", "it answered 410", "breaker open", "timed_out"))
    rows = {row["subscription"]: row for row in (await main_here("subscriptions", "list", "--json")).json}
    assert (rows["bot"]["since_ms"], rows["bot"]["waiting"]) == (T, 1)
    assert (rows["crm"]["since_ms"], rows["crm"]["next_probe_ms"]) == (T, T + 8000)


async def test_blocked_chats_are_shown(redis: Redis) -> None:
    await redis.hset(KEYS.lane("bot", "blocked"), "chat-1", "x|1-0")  # type: ignore[misc]
    said = await main_here("subscriptions", "list")
    assert said.code == 1
    assert "dead letters hold up 1 chat;" in said.out
    assert (await states())["bot"] == "holding up chats"


async def test_pausing_and_resuming(redis: Redis) -> None:
    said = await main_here("subscriptions", "pause", "bot", "--why", "a release")
    assert (said.code, said.out) == (0, "bot is paused.\n")
    [pause] = (await Suspensions(redis).pauses()).values()
    assert isinstance(pause, Pause)
    assert pause.reason == "a release"
    assert "already" in (await main_here("subscriptions", "pause", "bot")).out
    assert (await main_here("subscriptions", "resume", "bot")).out == "bot is resumed.\n"
    assert (await main_here("subscriptions", "resume", "bot")).out == "bot was not paused.\n"
    await Suspensions(redis).save_open_breaker("crm", OpenBreaker(T, T + 8000, 3, "timed_out: "))
    resumed = (await main_here("subscriptions", "resume", "crm")).out
    assert "crm was not paused.\nIts circuit breaker is open (timed_out)" in resumed
    assert "It tries next at 20" in resumed
    assert "relay attempts --subscription crm" in resumed
    await Suspensions(redis).save_open_breaker("crm", None)
    assert await states() == {"bot": "delivering", "crm": "delivering", "former": "removed"}


async def test_pause_in_relay_toml_is_resumed_there() -> None:
    Path("relay.toml").write_text(RULES + "paused = true\n")
    assert (await states())["crm"] == "paused"
    said = await main_here("subscriptions", "resume", "crm")
    assert said.code == 1
    assert "remove `paused = true` there" in said.err


@pytest.mark.parametrize("command", ["pause", "resume", "drop"])
async def test_unknown_subscription_is_refused(command: str) -> None:
    said = await main_here("subscriptions", command, "bott")
    assert said.code == 1
    assert '"bott"' in said.err
    assert said.is_one_message_without_traceback()


async def test_removed_subscription_is_dropped_completely(redis: Redis) -> None:
    await bury(redis, "former", "dead one")
    said = await main_here("subscriptions", "drop", "former")
    assert said.code == 1
    assert "1 event waiting, 0 retrying and 1 dead letter" in said.err
    said = await main_here("subscriptions", "drop", "former", "--yes")
    assert said.out == "former is dropped, with 2 events.\n"
    assert {row.subscription for row in await Ledger(redis).lanes()} == {"bot", "crm"}
    assert [key async for key in redis.scan_iter("relay:lane:former*")] == []
    groups = await redis.xinfo_groups(KEYS.topic("support"))
    assert {group["name"] for group in groups} == {b"push:bot", b"push:crm"}


async def test_subscription_without_its_topic_can_be_dropped(redis: Redis) -> None:
    await redis.delete(KEYS.topic("support"))
    assert (await main_here("subscriptions", "drop", "former", "--yes")).code == 0


async def test_configured_subscription_is_not_dropped() -> None:
    said = await main_here("subscriptions", "drop", "bot", "--yes")
    assert said.code == 1
    assert "remove it there first" in said.err


async def record(redis: Redis, name: str, *outcomes: Outcome) -> None:
    """Settle an attempt with each outcome, as a worker does: a dead letter after each failure."""
    lane = Lane(redis, name, "support")
    async with Settler(redis, "job", "token") as settler:
        for at_ms, outcome in enumerate(outcomes, T):
            await redis.xadd(KEYS.topic("support"), {"id": "e", "type": "message.received", "at": "5", "body": "{}"})
            delivery = (await lane.read_new(1))[0]
            verdict = Delivered() if outcome is Outcome.DELIVERED else DeadLettered("x")
            attempt = Attempt(outcome, at_ms, 0, None if outcome is Outcome.UNREACHABLE else 404)
            await settler.settle(Settlement(lane, delivery, attempt, Tries(), verdict, at_ms))


async def test_subscription_without_success_is_failing(redis: Redis) -> None:
    await record(redis, "bot", Outcome.DELIVERED, *[Outcome.REJECTED] * 3)
    await record(redis, "crm", Outcome.UNREACHABLE, Outcome.UNREACHABLE, Outcome.DELIVERED, Outcome.UNREACHABLE)
    said = await main_here("subscriptions", "list", "--json")
    assert said.code == 1
    rows = {row["subscription"]: row for row in said.json}
    assert {name: row["state"] for name, row in rows.items()} == {
        "bot": "failing",
        "crm": "delivering",
        "former": "removed",
    }
    assert (rows["bot"]["last_success_ms"], rows["crm"]["last_success_ms"]) == (T, T + 2)
    assert "rejected: 404" in rows["bot"]["why"]
    assert "failing" in (await main_here("subscriptions", "list")).out
    await record(redis, "bot", Outcome.DELIVERED)
    assert (await states())["bot"] == "delivering"


async def test_new_subscription_without_success_is_failing(redis: Redis) -> None:
    await record(redis, "bot", *[Outcome.UNREACHABLE] * 3)
    [row, *_] = (await main_here("subscriptions", "list", "--json")).json
    assert (row["state"], row["last_success_ms"]) == ("failing", None)


@pytest.mark.parametrize(
    "key", [KEYS.lane("bot"), *(KEYS.lane("bot", part) for part in ("attempts", "dead", "blocked"))]
)
async def test_overwritten_key_suspends_one_subscription(redis: Redis, key: str) -> None:
    await redis.set(key, "not ours")
    said = await main_here("subscriptions", "list", "--json")
    assert said.code == 1
    rows = {row["subscription"]: row for row in said.json}
    assert {name: row["state"] for name, row in rows.items()} == {
        "bot": "suspended",
        "crm": "delivering",
        "former": "removed",
    }
    assert f"RENAME {key}" in rows["bot"]["why"]
    for lists in ("topics", "dead list", "attempts"):
        said = await main_here(*lists.split(), "--json")
        assert said.out, said.err
    assert (await main_here("ledger")).code == (1 if key in {KEYS.lane("bot"), KEYS.lane("bot", "dead")} else 0)
