from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from relay.store.driver.client import REDIS_ERRORS, open_redis
from relay.store.inbox.refusals import Refusals, refused_counts
from tests.support import eventually

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

WEEK = 604_800.0


async def test_flood_is_one_line_for_each_cause(redis: Redis) -> None:
    with capture_logs() as logs:
        async with Refusals(redis, 0.05) as refusals:
            for number in range(1000):
                refusals.record("bad_signature", cause="stale", reason="too old", remote=f"192.0.2.{number % 256}")
                refusals.record("bad_signature", cause="wrong", reason="wrong", line=f"+1646{number}", limited=True)
            await eventually(lambda: logs)
            assert await eventually(lambda: refused_counts(redis)) == {"bad_signature": 2000}
    stale, wrong = logs
    assert stale == {
        "event": "event.refused",
        "log_level": "warning",
        "code": "bad_signature",
        "count": 1000,
        "final": 0,
        "line": None,
        "reason": "too old",
        "remote": "192.0.2.0",
    }
    assert (wrong["count"], wrong["limited"], wrong["line"]) == (1000, 1000, "+16460")
    assert wrong["lines"] == [f"+1646{number}" for number in range(5)]


async def test_last_refusals_are_logged_and_counted_at_the_end(redis: Redis) -> None:
    with capture_logs() as logs:
        async with Refusals(redis, WEEK) as refusals:
            refusals.record("not_found", path="/" + "x" * 5000)
        assert [(line["code"], line["count"], len(line["path"])) for line in logs] == [("not_found", 1, 120)]
    assert await refused_counts(redis) == {"not_found": 1}


async def test_text_of_a_sender_is_escaped(redis: Redis) -> None:
    with capture_logs() as logs:
        async with Refusals(redis, WEEK) as refusals:
            refusals.record("too_large", final=True, subscription="\x1b[31m\udc9b\n")
    assert (logs[0]["subscription"], logs[0]["final"]) == (r"\x1b[31m\udc9b\n", 1)


async def test_number_of_causes_is_bounded(redis: Redis) -> None:
    with capture_logs() as logs:
        async with Refusals(redis, WEEK) as refusals:
            for number in range(1000):
                refusals.record("code", cause=str(number))
    assert len(logs) == 65
    assert sum(line["count"] for line in logs) == 1000


async def test_counts_are_kept_while_redis_is_away(redis: Redis) -> None:
    nowhere = open_redis("redis://127.0.0.1:1/0", 0.5)
    refusals = Refusals(nowhere, 0.01)
    with capture_logs() as logs:
        async with refusals:
            refusals.record("not_found")
            await eventually(lambda: logs)
        await nowhere.aclose()
        refusals._redis = redis
        async with refusals:
            refusals.record("not_found")
    assert await refused_counts(redis) == {"not_found": 2}


async def test_counts_are_written_once_redis_is_back_without_another_refusal(redis: Redis) -> None:
    nowhere = open_redis("redis://127.0.0.1:1/0", 0.5)
    async with Refusals(nowhere, 0.01) as refusals:
        count, failed = refusals._count, asyncio.Event()

        async def note_failure() -> None:
            try:
                await count()
            except REDIS_ERRORS:
                failed.set()
                raise

        refusals._count = note_failure  # type: ignore[method-assign]
        refusals.record("not_found")
        await eventually(failed.is_set)
        refusals._redis = redis
        assert await eventually(lambda: refused_counts(redis)) == {"not_found": 1}
    await nowhere.aclose()
