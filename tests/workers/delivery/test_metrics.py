from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from tests.metrics.scrapes import scraped, until, worker_metrics
from tests.support import eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import delivering, feed

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.lanes.lane import Lane


async def test_attempts_of_a_subscription_are_counted_until_it_is_removed(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    release = asyncio.Event()

    async def answer(post: Received) -> web.Response:
        if post.headers["webhook-id"] == "slow":
            await release.wait()
        return web.Response(status=500 if post.headers["relay-attempt"] == "1" else 204)

    sink.answer = answer
    metrics = worker_metrics(rules)
    metrics.certificate("bot", 1000)
    async with delivering(redis, rules, metrics=metrics):
        await feed(redis, lanes["bot"], "e1", "e2", "slow")
        attempts = 'delivery_attempts_total{{outcome="{}",subscription="bot"}}'
        in_flight = 'deliveries_in_flight{subscription="bot"}'
        await until(metrics.process, {attempts.format("failed"): 2, attempts.format("delivered"): 2, in_flight: 1})
        release.set()
        await until(metrics.process, {attempts.format("failed"): 3, attempts.format("delivered"): 3, in_flight: 0})
        found = await scraped(metrics.process)
        assert found['relay_delivery_attempt_duration_seconds_count{subscription="bot"}'] == 6
        assert found['relay_subscriber_certificate_expiry_timestamp_seconds{subscription="bot"}'] == 1000

        rules_file.write_text(rules_for(sink).replace('name = "bot"', 'name = "successor"'))
        rules.reload()

        async def is_gone() -> bool:
            await scraped(metrics.process)  # hidden at once, and removed once the lane has ended
            return not [
                family
                for family in metrics.process.registry.collect()
                for sample in family.samples
                if sample.labels.get("subscription") == "bot"
            ]

        assert not [name for name in await scraped(metrics.process) if '"bot"' in name]
        await eventually(is_gone)
