"""Commands on a relay with four shards: they show and take the id of an entry with the number of its shard."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from tests.cli.running import ended, invoke_beside, line_with, main_here, relay_process
from tests.cli.test_events import RULES
from tests.services.topics.history.conftest import put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = 1_789_377_302_000


@pytest.fixture
async def shards(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shards]:
    """An event of support on each shard, all with the same id of their entry; the command line is on these shards."""
    Path("relay.toml").write_text(RULES)
    for name, value in {"REDIS_URL": redis_url, "RELAY_SHARDS": "4"}.items():
        monkeypatch.setenv(name, value)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        for number, shard in enumerate(shards.all):
            await put(shard, "support", f"e-{number}", T, chat=f"c{number}")
        yield shards


@pytest.mark.usefixtures("shards")
async def test_search_goes_on_by_its_cursor() -> None:
    found: list[tuple[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        more = ("--cursor", cursor) if cursor else ()
        page: Any = (await invoke_beside("events", "search", "--limit", "3", *more, "--json")).json
        found += [(event["id"], event["topics"][0]["entry"]) for event in page["events"]]
        cursor = page["cursor"]
    assert found == [("e-0", f"{T}-0"), ("e-1", f"{T}-0.1"), ("e-2", f"{T}-0.2"), ("e-3", f"{T}-0.3")]


async def test_story_and_sending_again(shards: Shards) -> None:
    said = await main_here("event", "e-2")
    [line] = [line for line in said.out.splitlines() if line.endswith(f"  {T}-0.2")]
    assert len(line) < 80
    sent: Any = (await invoke_beside("replay", "--id", "e-2", "--to", "bot", "--json")).json
    [(entry, _)] = await shards.all[2].xrange(shards.all[2].key.lane("bot", "replay"))
    assert (sent["entry"], sent["replay"]) == (f"{T}-0.2", f"{entry.decode()}.2")


@pytest.mark.usefixtures("shards")
async def test_replay_is_counted_started_listed_and_cancelled_as_one() -> None:
    order = ("replay", "--topic", "support", "--to", "bot")
    counted: Any = (await invoke_beside(*order, "--dry-run", "--json")).json
    assert (counted["would_replay"], counted["is_complete"], counted["history_since"]) == (4, True, T)
    started: Any = (await invoke_beside(*order, "--json")).json
    assert (started["matching"], started["rate"], started["end"]) == (4, 50.0, f"{T}-0.3")
    [row] = (await invoke_beside("replay", "list", "--json")).json
    assert row == started
    said = await main_here("replay", "cancel", started["id"])
    assert "is cancelled; bot was sent 0 events" in said.out
    [row] = (await invoke_beside("replay", "list", "--json")).json
    assert (row["state"], row["matching"]) == ("cancelled", 4)


async def test_tail_follows_all_shards(shards: Shards) -> None:
    async with relay_process("topics", "tail", "support", "--since", "2026-09-14", "--json") as process:
        shown = [json.loads(await line_with("e-", process.stdout)) for _ in range(4)]
        assert [event["topics"][0]["entry"] for event in shown] == [f"{T}-0", f"{T}-0.1", f"{T}-0.2", f"{T}-0.3"]
        await put(shards.all[3], "support", "new", round(time.time() * 1000))
        assert json.loads(await line_with("new", process.stdout))["id"] == "new"
        process.send_signal(signal.SIGINT)
        rest = await ended(process)
    assert (rest.code, rest.out, rest.err) == (130, "", "")
