"""`relay shards`: the number of shards is shown, and grows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import Conflict, Invalid
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import open_shards
from tests.cli.running import Said, invoke_beside

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

RULES = """
[[topics]]
name = "messages"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "messages"
url = "http://127.0.0.1:9/bot"
secret = "env:S"
ordered = "chat"
"""


@pytest.fixture(autouse=True)
async def relay(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay with two shards."""
    del redis
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("RELAY_SHARDS", "2")
    Path("relay.toml").write_text(RULES)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as shards:
        await require_number_of_shards(shards.home)


async def shards(*arguments: str) -> Said:
    return await invoke_beside("shards", *arguments)


async def test_number_is_shown() -> None:
    assert "2" in (await shards()).out
    assert (await shards("--json")).json == {
        "shards": 2,
        "growth": None,
        "dedupes_until_ms": None,
        "closed": [],
        "others": [],
        "dedupe_note": "",
    }


async def test_growth_step_by_step() -> None:
    planned = await shards("plan", "4")
    assert "From 2 to 4 shards: 50% of all chats move to a new one." in planned.out
    assert "bot" in planned.out
    assert (await shards("plan", "4", "--json")).json["share"] == 0.5
    assert "RELAY_SHARDS=4" in (await shards("prepare", "4", "--why", "one primary is full")).out
    next_step = "restart every process with RELAY_SHARDS=4, then run: relay shards apply"
    prepared = " ".join((await shards()).out.split())
    assert next_step in prepared
    assert "repeats" not in prepared, "that is about events after the switch, as are closed subscriptions"
    assert "on the new shards" not in prepared
    assert next_step in " ".join((await shards("plan", "4")).out.split())
    applied = await shards("apply")
    assert (applied.code, "Done: the relay has 4 shards." in applied.out) == (0, True)
    assert "events are placed on 4 shards" in applied.out
    state = (await shards("--json")).json
    assert (state["shards"], state["growth"]["phase"], state["closed"]) == (4, "done", [])
    said = (await shards()).out
    assert "from 2 to 4, done" in said
    assert "repeats  also looked up on former shards until 20" in said
    assert (await shards("apply", "--json")).json["phase"] == "done"


async def test_json_is_not_mixed_with_log_lines() -> None:
    await shards("prepare", "4")
    assert (await shards("apply", "--json")).json["phase"] == "done"


async def test_fewer_are_refused_with_the_reason() -> None:
    with pytest.raises(Invalid, match="2 are in use, and the number can only grow"):
        await shards("prepare", "2")


async def test_what_was_prepared_is_cancelled() -> None:
    await shards("prepare", "4")
    assert (await shards("cancel")).out.strip() == "Cancelled."
    assert (await shards("cancel", "--json")).code == 1
    with pytest.raises(Conflict, match="no number of shards is prepared"):
        await shards("apply")
