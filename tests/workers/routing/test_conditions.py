"""Conditions on the body in the router: what has no result costs one topic, is counted, and is logged now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from relay.core.event import Event, PayloadFields
from relay.metrics.worker_metrics import WorkerMetrics
from tests.building import CUSTOMER, LINE, body_of, webhook_of
from tests.metrics.scrapes import until, worker_metrics
from tests.support import eventually
from tests.workers.conftest import TIMINGS, accept, emptied, routing, topic
from workers.routing.facts import BodyFacts
from workers.routing.router import Router

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis

RULES = f"""
[[topics]]
name = "bad"
events = ["*"]
where = "length(data.text) > `0`"

[[topics]]
name = "from"
events = ["*"]
sender = "{CUSTOMER}"

[[topics]]
name = "with-text"
events = ["*"]
where = "data.text"

[[topics]]
name = "all"
events = ["*"]
"""


async def test_expression_that_fails_costs_one_topic_and_no_event(
    redis: Redis, rules_file: Path, rules: ConfigFile
) -> None:
    rules_file.write_text(RULES)
    rules.reload()
    metrics = worker_metrics(rules)
    webhooks = [
        webhook_of(event_id=name)._replace(body=body_of(event_id=name, from_handle={"handle": CUSTOMER}))
        for name in "abc"
    ]
    with capture_logs() as logs:
        await accept(redis, *webhooks)
        async with routing(redis, rules, Router(redis, rules, time.time, TIMINGS, metrics)):
            await eventually(lambda: emptied(redis))
            await until(metrics.process, {'topic_where_failed_total{topic="bad"}': 3, "events_routed_total": 3})
    held = {name: [entry["id"] for entry in await topic(redis, name)] for name in ("all", "from", "bad", "with-text")}
    assert held == {"all": ["a", "b", "c"], "from": ["a", "b", "c"], "bad": [], "with-text": []}
    [logged] = [entry for entry in logs if entry["event"] == "topic.where_failed"]
    assert (logged["topic"], logged["id"], logged["log_level"]) == ("bad", "a", "warning")
    assert "length() needs string or array or object and gets null" in logged["reason"]


def test_log_is_bounded_and_tells_how_many_were_left_out() -> None:
    now = 1000.0
    facts = BodyFacts(WorkerMetrics.unscraped(), lambda: now)
    event = Event("e", "message.received", "v2", LINE, PayloadFields())
    with capture_logs() as logs:
        for seconds in (0, 1, 2, 61, 122):
            now = 1000.0 + seconds
            facts.undecided("bad", event, "why")
        facts.undecided("other", event, "why")
    assert [(entry["topic"], entry["more_since_last"]) for entry in logs] == [
        ("bad", 0),
        ("bad", 2),
        ("bad", 0),
        ("other", 0),
    ]
