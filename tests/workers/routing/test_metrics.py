from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.core.event import Dialect
from tests.building import webhook_of
from tests.metrics.scrapes import until, worker_metrics
from tests.workers.conftest import TIMINGS, Sink, accept, routing, rules_for
from workers.routing.router import Router

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis


async def test_routed_unmatched_and_unreadable_events_are_counted(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink).replace('events = ["*"]', 'events = ["chat.*"]'))
    rules.reload()
    metrics = worker_metrics(rules)
    unreadable = webhook_of()._replace(body=b'{"event_type": "x.y"')
    await accept(redis, webhook_of(), webhook_of(), webhook_of("reaction.added"), unreadable)
    async with routing(redis, rules, Router(redis, rules, time.time, TIMINGS, metrics)):
        counts: dict[str, float] = {"events_routed_total": 2, "events_unmatched_total": 1}
        quarantined = {f'events_quarantined_total{{api="{dialect}"}}': dialect is Dialect.V3 for dialect in Dialect}
        await until(metrics.process, counts | quarantined)
