"""`relay topics`: what is in each topic, and who reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.core.delivery.outcome import Attempt, Delivered, Outcome, RetryAt
from relay.store.lanes.audit import audit_lane
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.ledger.ledger import LaneLedger, Ledger
from tests.cli.running import main_here
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")


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
    await redis.sadd(KEYS.topics, "support", "former")  # type: ignore[misc]


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


class TestDrop:
    """A topic that relay.toml no longer has: half of it is delivered, and a retry waits."""

    @pytest.fixture(autouse=True)
    async def _former(self, redis: Redis, _topic: None) -> None:
        Path("relay.toml").write_text('[[topics]]\nname = "unused"\nevents = ["*"]\n')
        lane = Lane(redis, "bot", "support")
        first, second = [await lane.fetch([ref]) for ref in await lane.orphans()]
        attempt = Attempt(Outcome.DELIVERED, at_ms=1, took_ms=1, status=200)
        async with Settler(redis, "job", "me") as settler:
            await settler.settle(Settlement(lane, first[0], attempt, Tries(1, 1, "x"), Delivered(), 1))
            await settler.settle(Settlement(lane, second[0], attempt, Tries(1, 1, "x"), RetryAt(due_ms=9), 1))

    async def row(self, redis: Redis) -> LaneLedger:
        [row] = await Ledger(redis).lanes()
        return row

    async def test_removed_topic_is_marked(self) -> None:
        said = await main_here("topics", "--json")
        states = {topic["name"]: topic["state"] for topic in said.json}
        assert states == {"unused": "active", "former": "removed", "support": "removed"}
        assert "removed" in (await main_here("topics")).out

    async def test_unread_events_need_force(self, redis: Redis) -> None:
        said = await main_here("topics", "drop", "support", "--yes")
        assert said.code == 1
        assert "billing 5 unread and 0 pending, bot 3 unread and 1 pending" in said.err
        assert "--force drops them too" in said.err
        assert await redis.xlen(STREAM) == 5

    async def test_dry_run_changes_nothing(self, redis: Redis) -> None:
        said = await main_here("topics", "drop", "support", "--force", "--dry-run", "--json")
        assert said.json == {"topic": "support", "dry_run": True, "would_drop": 5, "unread": 5}
        assert await redis.xlen(STREAM) == 5

    async def test_drop_needs_a_confirmation(self, redis: Redis) -> None:
        said = await main_here("topics", "drop", "support", "--force")
        assert (said.code, "--yes is needed" in said.err) == (2, True)
        assert await redis.xlen(STREAM) == 5

    async def test_ledger_counts_dropped_events(self, redis: Redis) -> None:
        said = await main_here("topics", "drop", "support", "--force", "--yes", "--json")
        assert said.json == {"topic": "support", "dropped": True, "events": 5, "undelivered": {"bot": 4}}
        expected = LaneLedger("bot", 5, delivered=1, waiting=0, retrying=0, dead=0, replayed=0, dropped=4)
        assert await self.row(redis) == expected
        assert await audit_lane(redis, "bot", is_configured=False) == []
        assert await redis.exists(STREAM) == 0
        assert [topic["name"] for topic in (await main_here("topics", "--json")).json] == ["unused", "former"]

    async def test_held_events_are_dropped_too(self, redis: Redis) -> None:
        await redis.xadd(KEYS.held("support"), {"id": "held", "body": "{}"})
        said = await main_here("topics", "drop", "support", "--force", "--yes", "--json")
        assert (said.json["events"], said.json["undelivered"]) == (6, {"bot": 4})
        assert await redis.exists(KEYS.held("support")) == 0

    async def test_topic_that_comes_back_is_counted_on(self, redis: Redis) -> None:
        await main_here("topics", "drop", "support", "--force", "--yes")
        lane = Lane(redis, "bot", "support")
        with capture_logs() as logs:
            await lane.ensure()
            await redis.xadd(STREAM, {"id": "new", "body": "{}"})
            assert not await audit_lane(redis, "bot", is_configured=True)
        assert [line["event"] for line in logs] == []
        assert [delivery.record.id for delivery in await lane.read_new(10)] == ["new"]
        expected = LaneLedger("bot", 6, delivered=1, waiting=1, retrying=0, dead=0, replayed=0, dropped=4)
        assert await self.row(redis) == expected

    @pytest.mark.parametrize(("name", "message"), [("unused", "is still in"), ("suport", 'did you mean "support"?')])
    async def test_only_a_removed_topic_is_dropped(self, name: str, message: str) -> None:
        said = await main_here("topics", "drop", name, "--force", "--yes")
        assert (said.code, message in said.err) == (1, True)
