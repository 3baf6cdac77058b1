from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.event import Dialect
from relay.store import wakeups
from relay.store.driver.client import WORKER_TIMEOUT, open_redis
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.inbox.chat_lines import Bounds, ChatLines, Sighting
from tests.bootstrap.redis_proxy import proxy_to
from tests.building import LINE, OTHER_LINE
from tests.conftest import NOW
from tests.support import KEYS, Clock, eventually, hash_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

TOKEN = "me"
HOUR = 3600.0
DAY = 86400.0


def seen(chat: str | None = "C", line: str | None = None, dialect: Dialect = Dialect.V3) -> Sighting:
    return Sighting(dialect, chat, line)


async def line_of(chats: ChatLines, sighting: Sighting) -> str | None:
    [line] = await chats.resolve([sighting], TOKEN)
    return line


async def remembered(redis: Redis) -> list[str]:
    """Return the chats in Redis, the oldest proof first, and check that both keys agree."""
    proved = [chat.decode() for chat in await redis.zrange(KEYS.chats_proved, 0, -1)]
    assert set(proved) == set(await hash_of(redis, KEYS.chats))
    return proved


async def calls(redis: Redis) -> dict[str, int]:
    """Return the number of calls of each command since the last reset."""
    stats: dict[str, Any] = await redis.info("commandstats")
    await redis.config_resetstat()
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


@pytest.fixture
async def chats(redis: Redis, clock: Clock) -> ChatLines:
    """The index of a router that has the lease."""
    await redis.set(KEYS.lease(wakeups.route(KEYS).job_id), TOKEN)
    return ChatLines(redis, clock)


# --- learning -------------------------------------------------------------------------------------


async def test_event_without_line_gets_the_line_of_its_chat(chats: ChatLines) -> None:
    assert await chats.resolve([seen(line=LINE)], TOKEN) == [LINE]
    assert await chats.resolve([seen(), seen("another"), seen(None)], TOKEN) == [LINE, None, None]


async def test_successor_reads_the_stored_index(redis: Redis, clock: Clock, chats: ChatLines) -> None:
    await chats.resolve([seen("C", LINE), seen("D", OTHER_LINE)], TOKEN)
    successor = ChatLines(redis, clock)
    assert await successor.resolve([seen("D"), seen("C"), seen("E")], TOKEN) == [OTHER_LINE, LINE, None]


async def test_proof_applies_to_later_events_of_the_batch(chats: ChatLines) -> None:
    batch = [seen(), seen(line=LINE), seen(), seen(line=OTHER_LINE), seen()]
    assert await chats.resolve(batch, TOKEN) == [None, LINE, LINE, OTHER_LINE, OTHER_LINE]


async def test_proved_line_is_never_overridden(chats: ChatLines) -> None:
    await chats.resolve([seen(line=LINE)], TOKEN)
    assert await line_of(chats, seen(line=OTHER_LINE)) == OTHER_LINE


async def test_chats_of_v2_and_v3_are_kept_apart(redis: Redis, chats: ChatLines) -> None:
    await chats.resolve([seen("7", LINE, Dialect.V2), seen("7", OTHER_LINE, Dialect.V3)], TOKEN)
    wanted = [seen("7", None, Dialect.V2), seen("7", None, Dialect.V3)]
    assert await chats.resolve(wanted, TOKEN) == [LINE, OTHER_LINE]
    assert await hash_of(redis, KEYS.chats) == {"v2:7": LINE, "v3:7": OTHER_LINE}


async def test_oversized_chat_id_is_not_stored(redis: Redis, chats: ChatLines) -> None:
    endless = "C" * 1000
    assert await chats.resolve([seen(endless, LINE), seen(endless)], TOKEN) == [LINE, None]
    assert await remembered(redis) == []


@pytest.mark.parametrize("successor", [True, False])
async def test_moved_chat_gets_its_newest_line_and_is_logged_once(
    redis: Redis,
    clock: Clock,
    chats: ChatLines,
    successor: bool,  # noqa: FBT001
) -> None:
    await chats.resolve([seen("C", LINE), seen("D", LINE)], TOKEN)
    later = ChatLines(redis, clock) if successor else chats
    with capture_logs() as logs:
        for line in (OTHER_LINE, LINE, OTHER_LINE):
            await later.resolve([seen("C", line), seen("D", LINE)], TOKEN)
    assert [entry for entry in logs if entry["event"] == "chat.moved"] == [
        {"event": "chat.moved", "log_level": "warning", "chat": "v3:C", "line": OTHER_LINE, "former_line": LINE}
    ]
    assert await ChatLines(redis, clock).resolve([seen("C"), seen("D")], TOKEN) == [OTHER_LINE, LINE]


# --- cost -----------------------------------------------------------------------------------------


async def test_lookup_needs_no_transaction(redis: Redis, chats: ChatLines) -> None:
    """Redis 7.0 refuses transactions at `maxmemory`, also of reads; a router that cannot look up routes nothing."""
    await redis.config_resetstat()
    await line_of(chats, seen())
    commands = await redis.info("commandstats")
    assert "cmdstat_zmscore" in commands
    assert "cmdstat_multi" not in commands


async def test_batch_costs_one_lookup_and_one_store_round_trip(redis: Redis, chats: ChatLines) -> None:
    await chats.resolve([seen("warm", LINE)], TOKEN)
    await calls(redis)
    await chats.resolve([seen(f"C{n}", LINE if n % 2 else None) for n in range(100)], TOKEN)
    made = await calls(redis)
    assert (made["hmget"], made["zmscore"], made["evalsha"]) == (1, 1, 1)


async def test_events_of_cached_chats_cost_no_round_trip(redis: Redis, clock: Clock, chats: ChatLines) -> None:
    await chats.resolve([seen(line=LINE)], TOKEN)
    await calls(redis)
    clock.now += HOUR / 2
    for _ in range(3):
        assert await chats.resolve([seen(line=LINE), seen(), seen(None)], TOKEN) == [LINE, LINE, None]
    assert set(await calls(redis)) <= {"info", "config|resetstat"}


async def test_chat_is_looked_up_once(redis: Redis, clock: Clock, chats: ChatLines) -> None:
    await chats.resolve([seen(line=LINE)], TOKEN)
    successor = ChatLines(redis, clock)
    await line_of(successor, seen())
    await calls(redis)
    assert await line_of(successor, seen()) == LINE
    assert "hmget" not in await calls(redis)


async def test_busy_chat_is_written_once_an_hour(redis: Redis, clock: Clock, chats: ChatLines) -> None:
    written = set()
    for _ in range(12 * 4 + 1):
        await chats.resolve([seen(line=LINE)], TOKEN)
        written.add(await redis.zscore(KEYS.chats_proved, "v3:C"))
        clock.now += HOUR / 4
    assert written == {(NOW + hour * HOUR) * 1000 for hour in range(12 + 1)}


async def test_cache_is_bounded_and_evicted_chats_are_looked_up(redis: Redis, clock: Clock) -> None:
    chats = ChatLines(redis, clock, Bounds(cached=3))
    await chats.resolve([seen(f"C{n}", LINE) for n in range(8)], TOKEN)
    await calls(redis)
    assert await chats.resolve([seen("C7"), seen("C5")], TOKEN) == [LINE, LINE]
    assert "hmget" not in await calls(redis)
    assert await chats.resolve([seen(f"C{n}") for n in range(8)], TOKEN) == [LINE] * 8
    assert (await calls(redis))["hmget"] == 1


# --- expiry ---------------------------------------------------------------------------------------


async def test_excess_chats_with_the_oldest_proofs_are_deleted(redis: Redis, clock: Clock) -> None:
    chats = ChatLines(redis, clock, Bounds(chats=3))
    for chat in ("A", "B", "C", "A", "D", "E"):
        await chats.resolve([seen(chat, LINE)], TOKEN)
        clock.now += HOUR
    assert await remembered(redis) == ["v3:A", "v3:D", "v3:E"]


async def test_large_batch_respects_the_bound(redis: Redis, clock: Clock) -> None:
    chats = ChatLines(redis, clock, Bounds(chats=10))
    for _ in range(3):
        await chats.resolve([seen(f"C{clock.now}-{n}", LINE) for n in range(500)], TOKEN)
        clock.now += 1
    assert len(await remembered(redis)) == 10


@pytest.mark.parametrize("bounds", [Bounds(chats=5), Bounds(lifetime=DAY)])
async def test_oversized_index_shrinks_in_small_steps(redis: Redis, clock: Clock, bounds: Bounds) -> None:
    await ChatLines(redis, clock).resolve([seen(f"C{n}", LINE) for n in range(350)], TOKEN)
    clock.now += 2 * DAY
    chats = ChatLines(redis, clock, bounds)
    sizes = []
    for n in range(5):
        await chats.resolve([seen(f"new{n}", LINE)], TOKEN)
        sizes.append(len(await remembered(redis)))
    assert sizes[:3] == [250, 150, 50]
    assert sizes[-1] == 5


@pytest.mark.parametrize("successor", [True, False])
async def test_chat_expires_after_its_last_proof(
    redis: Redis,
    clock: Clock,
    successor: bool,  # noqa: FBT001
) -> None:
    bounds = Bounds(lifetime=90 * DAY)
    chats = ChatLines(redis, clock, bounds)
    await chats.resolve([seen(line=LINE)], TOKEN)
    clock.now += 90 * DAY - 1
    assert await line_of(ChatLines(redis, clock, bounds) if successor else chats, seen()) == LINE
    clock.now += 2
    assert await line_of(ChatLines(redis, clock, bounds) if successor else chats, seen()) is None
    await chats.resolve([seen("D", LINE)], TOKEN)
    assert await remembered(redis) == ["v3:D"]


async def test_unused_index_expires(redis: Redis, chats: ChatLines) -> None:
    await chats.resolve([seen(line=LINE)], TOKEN)
    for key in (KEYS.chats, KEYS.chats_proved, KEYS.chats_last_writer):
        assert 89 * DAY < await redis.ttl(key) <= 90 * DAY


# --- failures -------------------------------------------------------------------------------------


async def test_router_without_the_lease_stores_nothing(redis: Redis, chats: ChatLines) -> None:
    with pytest.raises(LeaseLost):
        await chats.resolve([seen(line=LINE)], "somebody else")
    assert await remembered(redis) == []
    assert await chats.resolve([seen("D", LINE)], TOKEN) == [LINE]
    assert await remembered(redis) == ["v3:C", "v3:D"]  # with the lease, the proof is stored


async def test_writes_of_another_router_override_the_cache(redis: Redis, clock: Clock, chats: ChatLines) -> None:
    await chats.resolve([seen(line=LINE)], TOKEN)
    await ChatLines(redis, clock).resolve([seen(line=LINE), seen("D", LINE)], TOKEN)
    await redis.set(KEYS.lease(wakeups.route(KEYS).job_id), "the other")
    await ChatLines(redis, clock).resolve([seen(line=OTHER_LINE)], "the other")
    await redis.set(KEYS.lease(wakeups.route(KEYS).job_id), TOKEN)
    await chats.begin()
    assert await line_of(chats, seen()) == OTHER_LINE


async def test_last_writer_keeps_its_cache(redis: Redis, chats: ChatLines) -> None:
    await chats.resolve([seen(line=LINE)], TOKEN)
    await chats.begin()
    await calls(redis)
    await chats.resolve([seen(), seen(line=LINE)], TOKEN)
    assert not {"hmget", "evalsha"} & set(await calls(redis))


async def test_possibly_lost_chats_are_stored_again(redis: Redis, chats: ChatLines) -> None:
    await chats.resolve([seen("C", LINE), seen("D", LINE)], TOKEN)
    await redis.delete(KEYS.chats, KEYS.chats_proved)
    chats.resync()
    assert await chats.resolve([seen("C", LINE), seen("D")], TOKEN) == [LINE, LINE]
    assert await remembered(redis) == ["v3:C"]


async def test_batch_waits_for_redis_and_gets_its_lines(redis_url: str, clock: Clock) -> None:
    async with proxy_to(redis_url) as proxy:
        redis = open_redis(proxy.url, WORKER_TIMEOUT)
        chats = ChatLines(redis, clock)
        await chats.resolve([seen("C", LINE)], TOKEN)
        proxy.shut()
        waiting = asyncio.create_task(ChatLines(redis, clock).resolve([seen("C"), seen("D", LINE), seen("D")], TOKEN))
        await eventually(lambda: proxy.refused > 1)
        assert not waiting.done()
        proxy.open()
        assert await waiting == [LINE, LINE, LINE]
        assert await remembered(redis) == ["v3:C", "v3:D"]
        await redis.aclose()


async def test_proofs_are_stored_later_after_an_interrupted_store(redis: Redis, chats: ChatLines) -> None:
    await redis.set(KEYS.chats, "in the way")
    task = asyncio.create_task(chats.resolve([seen("C", LINE)], TOKEN))
    with capture_logs() as logs:
        await eventually(lambda: any(entry["event"] == "redis.waiting" for entry in logs))
    task.cancel()
    await asyncio.wait([task])
    await redis.delete(KEYS.chats)
    await chats.resolve([seen("D", LINE)], TOKEN)
    assert await hash_of(redis, KEYS.chats) == {"v3:C": LINE, "v3:D": LINE}
