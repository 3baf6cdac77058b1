"""`relay groups` and `relay dead --group` of a relay with four shards: one group, and ids that name their shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from relay.store.topics.pull.group import Limits, PullGroup, Receipt, consumer_of
from relay.store.topics.registry import register_topics
from tests.cli.running import main_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GROUP = "support/crm"
HTTP = consumer_of("http", 60)


@pytest.fixture(autouse=True)
async def shards(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shards]:
    """A group that has, on shard n, read the event of 1000 + n and not that of 5000 + n."""
    for name, value in {"REDIS_URL": redis_url, "RELAY_SHARDS": "4"}.items():
        monkeypatch.setenv(name, value)
    Path("relay.toml").write_text('[[topics]]\nname = "support"\nevents = ["*"]\n')
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        for number, shard in enumerate(shards.all):
            await register_topics(shard, ["support"])
            stream = shard.key.topic("support")
            await shard.xadd(stream, {"id": f"a{number}", "type": "x", "body": "{}"}, f"{1000 + number}-0")
            await PullGroup(shard, "support", "crm").receive(HTTP, Limits(100), start="0")
            await shard.xadd(stream, {"id": f"b{number}", "type": "x", "body": "{}"}, f"{5000 + number}-0")
        yield shards


async def test_group_is_listed_and_shown_once() -> None:
    listed = await main_here("groups", "list", "--json")
    [group] = listed.json
    assert (group["name"], group["lag"], group["pending"], group["position"]) == ("crm", 4, 4, "1003-0.3")
    shown = await main_here("groups", "show", GROUP)
    assert shown.code == 0
    assert "1000-0, delivered once" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


async def test_seek_shows_and_does_what_it_is_on_all_shards(shards: Shards) -> None:
    home = shards.home
    await home.xgroup_setid(home.key.topic("support"), "crm", "5000-0")
    shown = await main_here("groups", "seek", GROUP, "--to", "5000-0.2", "--dry-run")
    assert "It would read 1 event again: its next event is the event of" in shown.out
    shown = await main_here("groups", "seek", GROUP, "--to", "5002-0.2", "--dry-run")
    assert "It would skip 1 event: its next event is the event of" in shown.out
    assert "(5002-0.2)" in shown.out
    shown = await main_here("groups", "seek", GROUP, "--to", "1002-0.2", "--dry-run")
    assert "It would read 3 events again: its next" in shown.out
    await home.xgroup_setid(home.key.topic("support"), "crm", "0-0")
    shown = await main_here("groups", "seek", GROUP, "--to", "1002-0.2", "--dry-run")
    assert "It would read 2 events again and skip 1 event: its next event is the event of" in shown.out
    moved = await main_here("groups", "seek", GROUP, "--to", "end", "--yes", "--json")
    assert (moved.json["events"], moved.json["is_back"], moved.json["skipped"], moved.json["moved"]) == (
        5,
        False,
        5,
        True,
    )
    [group] = (await main_here("groups", "list", "--json")).json
    assert group["lag"] == 0
    wrong = await main_here("groups", "seek", GROUP, "--to", "5000-0.7", "--yes")
    assert (wrong.code, "shard 7" in wrong.err) == (1, True)


async def test_dead_letters_are_shown_replayed_and_dropped(shards: Shards) -> None:
    for number, shard in enumerate(shards.all):
        await PullGroup(shard, "support", "crm").reject([Receipt(f"{1000 + number}-0", 1)], "no customer")
    letters = (await main_here("dead", "list", "--group", GROUP, "--json")).json
    assert [letter["id"] for letter in letters] == ["a0", "a1", "a2", "a3"]
    assert [letter["entry"] for letter in letters] == ["1000-0", "1001-0.1", "1002-0.2", "1003-0.3"]
    shown = await main_here("dead", "show", "--group", GROUP, "--id", "a2", "--json")
    assert [letter["is_replayable"] for letter in shown.json] == [True]
    done = await main_here("dead", "replay", "--group", GROUP, "--id", "a2", "--json")
    assert (done.code, done.json["groups"]) == (0, {GROUP: 1})
    done = await main_here("dead", "drop", "test", "--group", GROUP, "--all")
    assert (done.code, f"{GROUP}: 3 dropped" in done.out) == (0, True)


async def test_group_is_deleted_on_all_shards(shards: Shards) -> None:
    deleted = await main_here("groups", "delete", GROUP, "not used", "--yes")
    assert (deleted.code, deleted.out.splitlines()[-1]) == (0, f"{GROUP} is deleted.")
    for shard in shards.all:
        assert await shard.xinfo_groups(shard.key.topic("support")) == []
