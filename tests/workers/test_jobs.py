from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from relay.settings import Settings
from workers.context import context_of, worker_parts
from workers.jobs import sweep, trim

if TYPE_CHECKING:
    from pathlib import Path

    from redis.asyncio import Redis


async def test_the_sweep_of_a_redis_without_memory_is_put_off_in_one_line(
    redis: Redis, redis_url: str, rules_file: Path
) -> None:
    async with worker_parts(Settings(redis_url=redis_url, relay_config=rules_file)) as parts:
        await redis.config_set("maxmemory", "1")
        try:
            with capture_logs() as logs:
                await sweep(context_of(parts))
        finally:
            await redis.config_set("maxmemory", "0")
        assert [(line["event"], line["what"], line["log_level"]) for line in logs] == [
            ("job.put_off", "sweeping", "warning")
        ]
        assert "OOM" in logs[0]["error"]
        with capture_logs() as logs:
            await sweep(context_of(parts))
        assert not logs


async def test_trimming_is_put_off_while_redis_is_away(rules_file: Path) -> None:
    async with worker_parts(Settings(redis_url="redis://127.0.0.1:1/0", relay_config=rules_file)) as parts:
        with capture_logs() as logs:
            await trim(context_of(parts))
    assert [(line["event"], line["what"]) for line in logs] == [("job.put_off", "trimming")]
