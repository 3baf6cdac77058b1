"""`relay gaps` and `relay backfill` against a sandbox and a Redis; killed processes are resumed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from relay.store.driver.client import ask
from relay.store.gaps.message_index import begin_index
from relay.store.gaps.outages import pending_outage
from relay.store.gaps.walk_record import Mode, Walk, WalkRecord, WalkState
from tests.cli.running import main_here, relay_process
from tests.gaps.stage import HOUR_MS, RULES, Stage, messages_in, stage_of
from tests.sandbox.running import API_KEY, LINE, OTHER_LINE, running_sandbox
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis

SPAN = ("--since", "1h", "--until", "0s")


@pytest.fixture
async def stage(
    redis: Redis, redis_url: str, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """Open a stage in whose environment commands run."""
    rules.write_text(RULES)
    async with running_sandbox() as sandbox, stage_of(redis, sandbox, tmp_path) as opened:
        for name, value in {
            "REDIS_URL": redis_url,
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_API_V3_BASE_URL": sandbox.base_url,
        }.items():
            monkeypatch.setenv(name, value)
        yield opened


async def test_gaps_are_shown_and_put_back(stage: Stage) -> None:
    made = stage.outage(messages=30, chats=5)
    await stage.accept(*made[:6])
    await stage.routed()
    looked = await main_here("gaps", *SPAN, "--rate", "1000")
    assert looked.code == 0, looked.err
    assert "24 of 30 messages missing, in 5 chats" in looked.out
    assert OTHER_LINE in looked.out
    found = (await main_here("gaps", *SPAN, "--line", LINE, "--rate", "1000", "--json")).json
    assert found["lines"] == [LINE]
    assert found["missing"] == found["findings"][LINE]["missing"]
    assert not await stage.redis.xlen(KEYS.inbox)

    planned = await main_here("backfill", *SPAN, "--rate", "1000", "--dry-run")
    assert "24 of 30 messages missing" in planned.out
    now = round(time.time() * 1000)
    await ask(
        stage.redis.hset(KEYS.gaps, mapping={"outage_from": str(now - 1_800_000), "outage_to": str(now - 60_000)})
    )
    assert "Nothing is left" not in (await main_here("gaps", *SPAN, "--rate", "1000")).out
    filled = await main_here("backfill", *SPAN, "--rate", "1000", "--yes", "--why", "outage")
    assert "24 messages put back." in filled.out
    assert "Nothing is left of the last outage." in filled.out
    assert await pending_outage(stage.redis) is None
    assert messages_in(await stage.routed()) == sorted(scenario.message_id for _, scenario in made)
    audit = await main_here("audit", "--json")
    assert "backfill" in audit.out
    assert "outage" in audit.out


async def test_a_backfill_without_a_terminal_needs_yes(stage: Stage) -> None:
    refused = await main_here("backfill", *SPAN)
    assert refused.code == 2
    assert "--yes is needed" in refused.err
    assert not stage.sandbox.calls


async def test_mistakes_are_told(stage: Stage) -> None:
    for options, text in (
        (("--line", "5550123"), "is not a phone number"),
        (("--since", "1h", "--until", "2h"), "is not before"),
        (("--line", "+19995550100"), "is not a line of this account"),
        (("--since", "10m"), "nothing to compare"),
    ):
        said = await main_here("gaps", *options)
        assert said.code != 0
        assert text in said.err
    await stage.redis.delete(KEYS.gaps)
    assert "start a worker" in (await main_here("gaps")).err
    await begin_index(stage.redis, round(time.time() * 1000) - HOUR_MS)
    assert "RELAY_GAP_WINDOW is 0s" in (await main_here("gaps", RELAY_GAP_WINDOW="0s")).err


@pytest.mark.parametrize("mode", [Mode.LOOK, Mode.FILL])
async def test_a_killed_run_goes_on_where_it_was(stage: Stage, mode: Mode) -> None:
    made = stage.outage(messages=600, chats=120)
    command = ("gaps", *SPAN[:2]) if mode is Mode.LOOK else ("backfill", "--yes", *SPAN[:2])

    async def halfway() -> Walk | None:
        walk = await WalkRecord(stage.redis).read()
        return walk if walk and 20 <= walk.chats < 100 else None

    async with relay_process(*command, "--until", "0s", "--rate", "200") as process:
        killed = await eventually(halfway)
        process.kill()
        await process.wait()
    calls = len(stage.sandbox.calls)
    again = await main_here(command[0], *(("--yes",) if mode is Mode.FILL else ()), "--rate", "1000")
    assert again.code == 0, again.err
    assert "Resuming the run" in again.out
    walk = await WalkRecord(stage.redis).read()
    assert walk is not None
    assert (walk.id, walk.chats) == (killed.id, 120)
    read = len([call for call in stage.sandbox.calls[calls:] if call.endswith("/messages")])
    assert read <= 120 - killed.chats
    entries = await stage.routed()
    if mode is Mode.FILL:
        assert messages_in(entries) == sorted(scenario.message_id for _, scenario in made)
        assert walk.put == 600
    else:
        assert not entries
        assert walk.missing == 600


async def test_each_account_is_compared_and_filled(
    redis: Redis, redis_url: str, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales = "+16465550126"
    toml = '[[linq.accounts]]\nname = "sales"\nkey = "env:LINQ_SALES_KEY"\n' + RULES
    rules.write_text(toml)
    async with (
        running_sandbox(accounts={"sales-key": [sales]}) as sandbox,
        stage_of(redis, sandbox, tmp_path, toml) as at,
    ):
        for name, value in {
            "REDIS_URL": redis_url,
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_SALES_KEY": "sales-key",
            "LINQ_API_V3_BASE_URL": sandbox.base_url,
        }.items():
            monkeypatch.setenv(name, value)
        made = at.outage(messages=30, chats=6)
        lines = {scenario.message_id: scenario.line for _, scenario in made}
        assert {LINE, OTHER_LINE, sales} <= {*lines.values()}
        of_sales = sorted(name for name, line in lines.items() if line == sales)
        fast = (*SPAN, "--rate", "1000")

        looked = await main_here("gaps", *fast)
        assert (looked.code, "Messages at Linq, account sales" in looked.out) == (0, True), looked.err
        both = (await main_here("gaps", *fast, "--json")).json
        assert [(walk["account"], walk["missing"]) for walk in both] == [
            (None, 30 - len(of_sales)),
            ("sales", len(of_sales)),
        ]
        one = (await main_here("gaps", *fast, "--account", "sales", "--line", sales, "--json")).json
        assert one["missing"] == len(of_sales)
        for line, owner in ((sales, "sales"), (LINE, None)):
            assert (await main_here("gaps", *fast, "--line", line, "--json")).json["account"] == owner
        assert "of none of the accounts" in (await main_here("gaps", *fast, "--line", "+19995550100")).err
        assert "there is no account ops" in (await main_here("gaps", *fast, "--account", "ops")).err

        for account, own, state in ((None, [LINE], WalkState.DONE), ("sales", [sales], WalkState.FAILED)):
            now_ms = round(time.time() * 1000)
            walk = Walk(
                "w", Mode.FILL, now_ms // HOUR_MS * HOUR_MS - HOUR_MS, HOUR_MS * (now_ms // HOUR_MS + 1), own, 1
            )
            walk.account, walk.state = account, state
            await WalkRecord(redis, account).begin(walk)
        filled = await main_here("backfill", "--rate", "1000", "--yes")
        assert "Resuming the run" in filled.out, "and the account that was done is left alone"
        assert f"{len(of_sales)} messages put back." in filled.out, filled.err
        entries = await at.routed()
        assert messages_in(entries) == of_sales
        assert {(entry["account"], entry["source"]) for entry in entries} == {("sales", "backfill")}
        assert (await main_here("backfill", *fast, "--yes")).code == 0
        assert sorted(entry["message"] for entry in await at.routed()) == sorted(lines)
        assert "of account sales" in (await main_here("audit", "--json")).out
