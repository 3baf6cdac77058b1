"""Metrics of the whole service, as a real Prometheus scrapes them and as its linter reads them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from relay.metrics.declared import METRICS
from relay.sandbox.app import Emission
from tests.journeys.conftest import LINES
from tests.metrics.scrapes import series_of
from tests.prometheus import prometheus
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.journeys.conftest import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.background,
    pytest.mark.timeout(180),  # seconds, also on a busy machine
    pytest.mark.needs_tool("prometheus"),
    pytest.mark.needs_tool("promtool"),
]

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs: [{{job_name: relay, static_configs: [{{targets: ["{target}"]}}]}}]
"""
NOT_THERE = {
    "relay_subscriber_certificate_expiry_timestamp_seconds",  # the subscribers of this test speak HTTP
    "relay_pull_group_lag",
    "relay_pull_group_pending",
    "relay_pull_group_dead_letters",
    "relay_pull_group_oldest_unread_age_seconds",
    "relay_pull_group_idle_seconds",
    "relay_subscription_shadow",
    "relay_contract_changed",
    "relay_topic_where_failed_total",
    *("relay_line_events_usual_day", "relay_line_last_outbound_timestamp_seconds", "relay_line_opt_outs"),
    *("relay_line_flagged", "relay_line_released"),  # as Linq's list tells, by that check, too
    *("relay_gap_last_run_timestamp_seconds", "relay_gap_last_run_failed", "relay_gap_messages_missing"),
    "relay_outage_not_backfilled_timestamp_seconds",
    "relay_linq_drift",  # the first check comes after five minutes
    "relay_linq_last_check_timestamp_seconds",
}


async def test_prometheus_scrapes_the_whole_service(service: Service, tmp_path: Path) -> None:
    admin = f"127.0.0.1:{reserve_port()}"
    service.environment["RELAY_ADMIN_LISTEN"] = admin
    await service.bootstrap()
    await service.start("up", "--ingress-processes", "2", "--worker-processes", "2")
    await eventually(service.is_ready, timeout=60)
    for line in LINES:
        service.sandbox.emit(Emission(type="message.received", line=line))
    async with prometheus(tmp_path, CONFIG.format(target=admin)) as url, aiohttp.ClientSession() as http:

        async def value_of(query: str) -> float | None:
            try:
                answer = await (await http.get(f"{url}/api/v1/query", params={"query": query})).json()
            except aiohttp.ClientError:
                return None  # it is still starting
            rows = answer["data"]["result"]
            return float(rows[0]["value"][1]) if rows else None

        async def is_measured() -> bool:
            found = {query: await value_of(query) for query in expected}
            return found == expected

        expected = {
            "relay_events_accepted_total{api='v3'}": 3,
            "relay_events_routed_total": 3,
            "sum(relay_delivery_attempts_total{outcome='delivered'})": 5,
            "sum(relay_topic_events_total)": 5,
            "count(relay_build_info)": 3,
            "relay_ready": 1,
            "relay_redis_up": 1,
            "sum(relay_ledger_imbalance)": 0,
            "relay_config_reload_refused": 0,
        }
        await eventually(is_measured, timeout=60)
        text = await (await http.get(f"http://{admin}/metrics")).text()
        service.rules.write_text("[[topics]]")
        expected = {"relay_config_reload_refused": 1, "sum(relay_subscription_waiting)": 0}
        await eventually(is_measured, timeout=60)

    linter = await asyncio.create_subprocess_exec(
        *("promtool", "check", "metrics"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await linter.communicate(text.encode())
    assert (linter.returncode, said.decode()) == (0, "")
    found = {name.partition("{")[0].removesuffix("_count").removesuffix("_sum") for name in series_of(text)}
    assert {metric.name for metric in METRICS} - found - {"relay_requests_refused_total"} == NOT_THERE
