"""Commands of a relay with several shards, and their refusal with another number than the relay's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from relay.core.secret import new_key
from relay.process.lifecycle import Lifecycle
from relay.store import wakeups
from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.fleet.processes import Reporter
from relay.store.sharding.growth.state import note_growth, note_time
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import Shards, open_shards
from tests.cli.running import main_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FOUR = {"RELAY_SHARDS": "4"}


@pytest.fixture
async def shards(redis_url: str, rules: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shards]:
    """A relay that was started with four shards, and an environment without their number."""
    del rules
    monkeypatch.setenv("REDIS_URL", redis_url)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        await require_number_of_shards(shards.home)
        yield shards


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize(
    "arguments",
    [
        ("ledger",),
        ("topics",),
        ("quarantine", "list"),
        ("gaps", "--since", "1h"),
        ("dead", "list", "--json"),
    ],
)
async def test_command_with_another_number_is_refused(arguments: tuple[str, ...]) -> None:
    said = await main_here(*arguments, LINQ_API_V3_API_KEY="key")
    assert (said.code, said.out) == (2, "")
    assert "RELAY_SHARDS: it is 1, but the relay has 4: set 4" in said.err
    assert said.is_one_message_without_traceback()


async def test_commands_see_all_shards(shards: Shards) -> None:
    for shard in shards.all:
        await ask(shard.hset(shard.key.counts, mapping={"accepted": 1}))
        await shard.xadd(shard.key.inbox, {"id": "e"})
    assert (await main_here("ledger", "--json", **FOUR)).json["totals"]["inbox"] == 4
    await shards.all[2].set(shards.all[2].key.lease(wakeups.route(shards.all[2].key).job_id), "worker")
    drained = await main_here("drain", "--wait", "--timeout", "1s", **FOUR)
    assert (drained.code, "the lease relay/2:route" in drained.out) == (1, True)
    await shards.all[2].delete(shards.all[2].key.lease(wakeups.route(shards.all[2].key).job_id))
    assert "4 events in the inbox" in (await main_here("drain", "--wait", **FOUR)).out


async def test_doctor_reports_a_wrong_number_of_shards(shards: Shards) -> None:
    del shards
    found = (await main_here("doctor", "--json", RELAY_SECRET_KEY=new_key())).json["findings"]
    [wrong] = [finding for finding in found if finding["area"] == "shards"]
    assert (wrong["state"], wrong["what"]) == ("problem", "RELAY_SHARDS: it is 1, but the relay has 4")
    found = (await main_here("doctor", "--json", RELAY_SECRET_KEY=new_key(), **FOUR)).json["findings"]
    assert "the relay has 4 shards" in [finding["what"] for finding in found if finding["area"] == "shards"]


async def test_window_of_the_ingresses_is_told_where_the_shell_has_another(shards: Shards) -> None:
    now_ms = round(time.time() * 1000)
    await shards.home.set(shards.home.key.shards, 3)
    await note_growth(shards.home, 3, 4, now_ms - 7_200_000)
    for step in ("decided", "advanced", "done"):
        await note_time(shards.home, step, now_ms - 7_200_000)
    await shards.home.set(shards.home.key.shards, 4)
    async with Reporter(shards.home, "ingress", Lifecycle(), list, dedupe_window=3600.0):
        told = "RELAY_DEDUPE_WINDOW is 1h at the ingresses and 6h in this shell: that of the ingresses counts"
        assert told in " ".join((await main_here("shards", **FOUR)).out.split())
        assert (await main_here("shards", "--json", **FOUR)).json["dedupe_note"] == told
        said = await main_here("shards", "prepare", "5", **FOUR)
        assert (said.code, f"Note: {told}." in said.out) == (0, True)
