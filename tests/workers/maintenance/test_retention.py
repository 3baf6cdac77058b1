"""Retention: trimming, and its log lines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.config.file import ConfigFile
from relay.core.event import Dialect
from relay.store.inbox.quarantine import Quarantine
from relay.store.ledger.ledger import Ledger
from tests.building import SECRET
from tests.support import KEYS
from workers.maintenance.retention import Retention

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis

RULES = '[[topics]]\nname = "support"\nevents = ["*"]\nkeep = "1h"\nsize = "1MB"\nhard_size = "3MB"\n'
STREAM = KEYS.topic("support")


@pytest.fixture
def retention(redis: Redis, tmp_path: Path) -> Retention:
    path = tmp_path / "relay.toml"
    path.write_text(RULES)
    return Retention(redis, ConfigFile(path), time.time)


async def feed(redis: Redis, megabytes: float, stream: str = STREAM) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(round(megabytes * 100)):
            pipe.xadd(stream, {"id": "e", "body": "x" * 10_000})
        await pipe.execute()


async def logs_of(retention: Retention) -> list[dict[str, Any]]:
    with capture_logs() as logs:
        await retention.trim()
    return [dict(line) for line in logs]


async def test_topic_is_kept_within_its_size(redis: Redis, retention: Retention) -> None:
    await feed(redis, 2)
    [line] = await logs_of(retention)
    assert (line["event"], line["topic"], line["needed_by"]) == ("topic.trimmed", "support", None)
    assert line["bytes"] <= 1_000_000
    again = await logs_of(retention)
    assert sum(line["removed"] for line in again) <= 1  # Redis estimates the size of an entry anew


async def test_group_that_prevents_trimming_is_named_before_any_loss(redis: Redis, retention: Retention) -> None:
    await redis.xgroup_create(STREAM, "billing", id="0", mkstream=True)
    await feed(redis, 1.2)
    assert await logs_of(retention) == []
    await feed(redis, 0.8)
    [line] = await logs_of(retention)
    assert (line["event"], line["log_level"], line["needed_by"]) == ("topic.filling", "error", "billing")
    assert line["removed"] == 0
    await feed(redis, 2)
    [line] = await logs_of(retention)
    assert (line["event"], line["log_level"]) == ("topic.overflowed", "error")
    assert line["lost"] > 50


async def test_topic_that_left_relay_toml_is_trimmed_too(redis: Redis, retention: Retention) -> None:
    former = KEYS.topic("former")
    await redis.sadd(KEYS.topics, "former")  # type: ignore[misc]
    await redis.xadd(former, {"id": "old"}, id=f"{round((time.time() - 73 * 3600) * 1000)}-0")
    await redis.xadd(former, {"id": "new"})
    assert [(line["topic"], line["removed"]) for line in await logs_of(retention)] == [("former", 1)]


async def test_attempts_are_trimmed_by_age_for_removed_subscriptions_too(redis: Redis, tmp_path: Path) -> None:
    text = (
        RULES
        + f"""[[subscriptions]]
name = "bot"
topic = "support"
url = "http://x"
secret = "{SECRET.text}"
attempts = {{ keep = "1h" }}
"""
    )
    (tmp_path / "relay.toml").write_text(text)
    retention = Retention(redis, ConfigFile(tmp_path / "relay.toml"), time.time)
    now_ms = round(time.time() * 1000)
    for name in ("bot", "gone"):
        await redis.sadd(KEYS.lanes, name)  # type: ignore[misc]
        for hours in (73, 2, 0):
            await redis.xadd(KEYS.lane(name, "attempts"), {"a": "x"}, id=f"{now_ms - hours * 3_600_000}-0")
    await retention.trim()
    assert [await redis.xlen(KEYS.lane(name, "attempts")) for name in ("bot", "gone")] == [1, 2]


async def test_quarantine_is_bounded_and_its_losses_are_counted(
    redis: Redis, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        await Quarantine(redis).put(Dialect.V3, None, b"x" * 10_000, "odd", number)
    assert await logs_of(retention) == []
    monkeypatch.setattr(Quarantine.trim, "__defaults__", ((), 500_000))
    [line] = await logs_of(retention)
    assert (line["event"], line["log_level"]) == ("quarantine.overflowed", "error")
    left = [body.at async for body in Quarantine(redis).all()]
    assert left == [*range(line["dropped"], 100)]
    assert 40 <= len(left) <= 50
    assert (await Ledger(redis).totals()).quarantine_dropped == line["dropped"]


async def test_dead_letters_of_groups_are_bounded_by_their_topic(redis: Redis, tmp_path: Path) -> None:
    await redis.xgroup_create(STREAM, "crm", id="0", mkstream=True)
    await redis.hset(KEYS.places("support"), "lost", "1-0")  # type: ignore[misc]
    await redis.set(KEYS.group_dead("support", "broken"), "x")
    for name in ("crm", "lost", "broken"):
        await redis.hset(KEYS.group_letters, f"known:support:{name}", "1")  # type: ignore[misc]
    path = tmp_path / "relay.toml"
    path.write_text(RULES + 'dead = { keep = "1h" }\n')
    for name in ("crm", "lost"):
        await redis.xadd(KEYS.group_dead("support", name), {"id": "old"}, id="1-0")
        await redis.xadd(KEYS.group_dead("support", name), {"id": "new"})
    logs = await logs_of(Retention(redis, ConfigFile(path), time.time))
    assert [(line["event"], line["topic"], line["group"], line["expired"]) for line in logs] == [
        ("dead_letters.discarded", "support", name, 1) for name in ("crm", "lost")
    ]
    assert "relay dead list --group support/crm" in logs[0]["note"]


def of_subscription(bounds: str) -> str:
    subscription = f'[[subscriptions]]\nname = "bot"\ntopic = "support"\nurl = "http://x"\nsecret = "{SECRET.text}"\n'
    return f"{RULES}{subscription}{bounds}\n"


async def test_dead_letters_are_bounded_anew_when_they_or_their_bounds_have_changed(
    redis: Redis, tmp_path: Path
) -> None:
    path, dead = tmp_path / "relay.toml", KEYS.lane("bot", "dead")
    path.write_text(of_subscription('dead = { size = "2MB" }'))
    file = ConfigFile(path)
    retention = Retention(redis, file, time.time)
    await feed(redis, 1.5, dead)
    [line] = await logs_of(retention)
    assert (line["event"], line["letters"]) == ("dead_letters.filling", 150)
    assert await logs_of(retention) == []
    await redis.xtrim(dead, maxlen=50, approximate=False)
    await feed(redis, 1, dead)
    assert await logs_of(retention) == [], "the alarm is given once, while they are many"
    path.write_text(of_subscription('dead = { size = "1MB" }'))
    file.check()
    [line] = await logs_of(retention)
    assert (line["event"], line["overflowed"] > 40) == ("dead_letters.discarded", True)
    await redis.delete(dead)
    assert await logs_of(retention) == []
    await feed(redis, 0.7, dead)
    assert [line["event"] for line in await logs_of(retention)] == ["dead_letters.filling"]


async def test_lanes_and_topics_within_their_bounds_are_looked_at_together(redis: Redis, retention: Retention) -> None:
    names = [f"former-{number}" for number in range(300)]
    await redis.sadd(KEYS.lanes, *names)  # type: ignore[misc]
    await redis.sadd(KEYS.topics, *names)  # type: ignore[misc]
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.xadd(KEYS.lane(name, "attempts"), {"a": "x"})
            pipe.xadd(KEYS.topic(name), {"id": "new"})
        await pipe.execute()

    async def scripts() -> int:
        found = await redis.info("commandstats")
        return sum(int(found.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("evalsha", "evalsha_ro"))

    await retention.trim()
    before = await scripts()
    await retention.trim()
    assert await scripts() - before < 20
