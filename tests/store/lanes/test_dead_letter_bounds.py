"""Bounds of dead letters: the oldest beyond them are deleted and counted, at any fill of Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError
from structlog.testing import capture_logs

from relay.core.config.topics import DeadBounds
from relay.core.delivery.outcome import DeadLettered
from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.lanes.dead_letter_bounds import trim_dead_letters
from relay.store.ledger.ledger import Ledger
from tests.store.lanes.test_settler import read, settlement
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.lanes.lane import Lane
    from relay.store.lanes.settler import Settler

NOW_MS = round(time.time() * 1000)
DEAD = KEYS.lane("bot", "dead")
MEGABYTE = DeadBounds(size="1MB", keep="1h")  # type: ignore[arg-type]  # as relay.toml has it


async def bury(redis: Redis, count: int, size: int = 1000, age_s: int = 0, **more: str) -> list[str]:
    """Write dead letters as `settle` does, each of `size` bytes."""
    began = NOW_MS - age_s * 1000
    ids = []
    for number in range(count):
        fields = {"id": f"e{number}", "body": "x" * size, **more}
        ids.append((await redis.xadd(DEAD, fields, id=f"{began}-{number + 1}")).decode())  # type: ignore[arg-type]
    await ask(redis.hincrby(KEYS.lane("bot"), "died", count))
    return ids


async def trim(redis: Redis) -> list[str]:
    """Trim to a megabyte; return the logged events."""
    with capture_logs() as logs:
        await trim_dead_letters(redis, "bot", MEGABYTE, NOW_MS)
    assert {line["log_level"] for line in logs} <= {"error"}
    return [line["event"] for line in logs]


@pytest.mark.usefixtures("lane")
async def test_alarm_at_half_and_once(redis: Redis) -> None:
    await bury(redis, 300, age_s=3)
    assert await trim(redis) == []
    await bury(redis, 400, age_s=2)
    assert await trim(redis) == ["dead_letters.filling"]
    assert await trim(redis) == []
    await redis.xtrim(DEAD, maxlen=100, approximate=False)
    assert await trim(redis) == []
    await bury(redis, 600, age_s=1)
    assert await trim(redis) == ["dead_letters.filling"]


@pytest.mark.usefixtures("lane")
async def test_oldest_beyond_the_size_are_counted(redis: Redis) -> None:
    ids = await bury(redis, 2000)
    with capture_logs() as logs:
        trimmed = await trim_dead_letters(redis, "bot", MEGABYTE, NOW_MS)
    assert 700 < trimmed.letters < 1000
    assert trimmed.size <= MEGABYTE.size
    assert trimmed.overflowed == 2000 - trimmed.letters
    assert [entry.decode() for entry, _ in await redis.xrange(DEAD)] == ids[trimmed.overflowed :]
    [row] = await Ledger(redis).lanes()
    assert (row.dead, row.discarded) == (trimmed.letters, trimmed.overflowed)
    [line] = [line for line in logs if line["event"] == "dead_letters.discarded"]
    assert (line["overflowed"], line["expired"]) == (trimmed.overflowed, 0)
    assert "relay dead list --subscription bot" in line["note"]


@pytest.mark.usefixtures("lane")
async def test_old_letters_are_deleted(redis: Redis) -> None:
    await bury(redis, 3, age_s=7200)
    await bury(redis, 2, age_s=60)
    trimmed = await trim_dead_letters(redis, "bot", MEGABYTE, NOW_MS)
    assert (trimmed.expired, trimmed.overflowed, trimmed.letters) == (3, 0, 2)


async def test_a_deleted_letter_no_longer_blocks_its_chat(redis: Redis, lane: Lane) -> None:
    [blocking] = await bury(redis, 1, age_s=7200, dead_blocks="old")
    [other] = await bury(redis, 1, age_s=60, dead_blocks="young")
    for chat, entry in (("old", blocking), ("young", other)):
        await ask(redis.hset(KEYS.lane("bot", "blocked"), chat, f"{DEAD}|{entry}"))
    await trim_dead_letters(redis, "bot", MEGABYTE, NOW_MS)
    assert list(await lane.blocked_chats()) == ["young"]
    assert b"bot" in await redis.zrange(KEYS.ready(wakeups.partition_of("bot")), 0, -1)


@pytest.mark.usefixtures("lane")
async def test_trimming_works_at_maxmemory(redis: Redis) -> None:
    await bury(redis, 1500)
    await redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(OutOfMemoryError):
            await redis.set("refused", "")
        assert (await trim_dead_letters(redis, "bot", MEGABYTE, NOW_MS)).overflowed > 300
    finally:
        await redis.config_set("maxmemory", 0)


async def test_ledger_balances_after_an_overflow(redis: Redis, lane: Lane, settler: Settler) -> None:
    for number in range(3):
        await settler.settle(settlement(lane, await read(redis, lane, f"e{number}"), DeadLettered("x")))
    await trim_dead_letters(redis, "bot", DeadBounds(keep="0s"), NOW_MS + 3_600_000)  # type: ignore[arg-type]
    [row] = await Ledger(redis).lanes()
    assert (row.routed, row.dead, row.discarded, row.balances) == (3, 0, 3, True)
