"""`relay topics`: what is in each topic, and who reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.store import keys
from relay.store.lanes.lane import Lane
from tests.cli.running import main_here

if TYPE_CHECKING:
    from redis.asyncio import Redis

STREAM = keys.topic("support")


@pytest.fixture(autouse=True)
async def _topic(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(
        "".join(f'[[topics]]\nname = "{name}"\nevents = ["*"]\n' for name in ("support", "unused"))
    )
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    await redis.xgroup_create(STREAM, "billing", id="0")
    for n in range(1, 6):
        await redis.xadd(STREAM, {"id": f"e{n}", "body": "{}"}, id=f"{1_789_377_302_000 + n}-0")
    await lane.read_new(2)
    await redis.sadd(keys.TOPICS, "support", "former")  # type: ignore[misc]


async def test_topics_are_shown_with_their_readers() -> None:
    said = await main_here("topics", "--json")
    assert [(topic["name"], topic["events"], topic["oldest_ms"]) for topic in said.json] == [
        ("support", 5, 1_789_377_302_001),
        ("unused", 0, None),
        ("former", 0, None),
    ]
    assert said.json[0]["size"] > 0
    assert said.json[0]["groups"] == [
        {"name": "billing", "is_push": False, "lag": 5, "pending": 0},
        {"name": "bot", "is_push": True, "lag": 3, "pending": 2},
    ]


async def test_start_is_shown_to_people() -> None:
    said = await main_here("topics")
    assert said.code == 0
    assert all(text in said.out for text in ("support", "unused", "billing", "pull", "bot", "push"))


async def test_group_after_a_seek_is_counted(redis: Redis) -> None:
    await redis.xgroup_setid(STREAM, "billing", f"{1_789_377_302_003}-0")
    said = await main_here("topics", "--json")
    assert said.json[0]["groups"][0]["lag"] == 2
