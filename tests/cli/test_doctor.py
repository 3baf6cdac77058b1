"""`relay doctor`: everything the relay stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from relay.contracts.facts import FACTS, Pair, Tally
from relay.core.secret import new_key
from relay.store.contracts.contracts import Contracts, Known
from tests.cli.running import main_here
from tests.sandbox.running import API_KEY, RunningSandbox, running_sandbox
from tests.store.rights.test_check import user_with
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis


@pytest.fixture
async def sandbox(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSandbox]:
    """A Linq, and an environment to register lines there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relay.toml").write_text('[[topics]]\nname = "all"\nevents = ["message.*"]\n')
    async with running_sandbox(allow_local=False) as running:
        for name, value in {
            "REDIS_URL": redis_url,
            "RELAY_PUBLIC_URL": "https://relay.example.com",
            "RELAY_SECRET_KEY": new_key(),
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_API_V3_BASE_URL": running.base_url,
        }.items():
            monkeypatch.setenv(name, value)
        yield running


async def findings_about(area: str) -> list[tuple[str, str]]:
    said = await main_here("doctor", "--json")
    return [(finding["state"], finding["what"]) for finding in said.json["findings"] if finding["area"] == area]


@pytest.mark.usefixtures("sandbox")
async def test_missing_subscription_at_linq_has_a_remedy() -> None:
    said = await main_here("doctor")
    assert said.code == 1
    for text in ("the line has no subscription", "relay bootstrap apply", "no worker is running", "problems found."):
        assert text in said.out
    await main_here("bootstrap", "apply")
    assert await findings_about("Linq") == [("ok", "4 subscriptions are registered as configured")]


@pytest.mark.usefixtures("sandbox")
async def test_untaken_and_unseen_event_types_are_named(redis: Redis) -> None:
    pair = Pair("message.received", "2026-02-03")
    tally = Tally(1, dict.fromkeys(FACTS, 1))
    await Contracts(redis).add(
        {pair: tally, Pair("message.teleported", "v2"): tally},
        Known(frozenset({pair.type}), frozenset({pair.version, "v2"})),
        1,
    )
    changed, untaken, unseen = await findings_about("event types")
    assert changed == ("warning", "message.teleported v2 is a new type of Linq's")
    assert untaken[0] == unseen[0] == "ok"
    assert "call.ended" in untaken[1]
    assert "message.read" in unseen[1]
    assert "message.received" not in untaken[1] + unseen[1]


@pytest.mark.usefixtures("sandbox")
async def test_linq_is_not_examined_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINQ_API_V3_API_KEY")
    assert await findings_about("Linq") == [("not checked", "lines not checked: LINQ_API_V3_API_KEY not set")]


@pytest.mark.usefixtures("sandbox")
async def test_refusing_linq_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINQ_API_V3_API_KEY", "another")
    [(state, what)] = await findings_about("Linq")
    assert state == "problem"
    assert "LINQ_API_V3_API_KEY" in what


async def test_unreachable_redis_is_a_finding(no_redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relay.toml").write_text("topics = []")
    monkeypatch.setenv("REDIS_URL", no_redis)
    said = await main_here("doctor")
    assert said.code == 1
    assert "check REDIS_URL" in said.out
    assert said.is_one_message_without_traceback() or not said.err


async def test_area_that_redis_refuses_is_not_checked(redis: Redis, redis_url: str, rules: Path) -> None:
    del rules
    async with user_with(redis, redis_url, "~*", "+@all", "-smembers", "-hgetall"):
        url = f"redis://relay:secret@127.0.0.1:{urlsplit(redis_url).port}/0"
        said = await main_here("doctor", "--json", REDIS_URL=url, RELAY_SECRET_KEY=new_key())
    states = {finding["area"]: finding["state"] for finding in said.json["findings"]}
    assert states["keyring"] == states["subscriptions"] == "not checked"
    remedies = {finding["area"]: finding["remedy"] for finding in said.json["findings"]}
    assert "relay acl --viewer" in remedies["keyring"]


async def test_summary_counts_the_checks_that_were_not_made(redis: Redis, redis_url: str, rules: Path) -> None:
    del rules
    await redis.set(f"{KEYS.queue}:health-check", "alive")
    async with user_with(redis, redis_url, "~*", "+@all", "-config"):
        url = f"redis://relay:secret@127.0.0.1:{urlsplit(redis_url).port}/0"
        said = await main_here("doctor", REDIS_URL=url)
        as_json = (await main_here("doctor", "--json", REDIS_URL=url)).json
    assert "? Redis: appendfsync not checked: Redis refuses CONFIG GET to this user" in said.out
    assert "No problems found; 3 checks could not be made." in said.out
    assert (said.code, as_json["problems"], as_json["not_checked"]) == (0, 0, 3)
