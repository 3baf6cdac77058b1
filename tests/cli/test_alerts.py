"""`relay alerts`: what is firing, what is not sent yet, and a test webhook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from relay.alerts import LEASE, state
from relay.alerts.lifecycle import Alert
from relay.store.driver.lease import acquire_lease
from tests.building import SECRET
from tests.cli.running import RULES, main_here
from tests.support import reserve_port
from tests.workers.conftest import Sink, open_sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis

NOW_MS = 1_789_377_302_000
FIRING = Alert(
    "dead_letters",
    "warning",
    "RelayDeadLetters",
    {"subscription": "bot", "topic": "support"},
    2.0,
    "dead letters of the subscription bot: 2",
    NOW_MS,
    NOW_MS,
)
PENDING = Alert("routing_lag", "critical", "RelayRoutingLag", {}, 70.0, "the oldest event ...", NOW_MS)


@pytest.fixture
async def sink(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Sink]:
    del tmp_path
    monkeypatch.setenv("REDIS_URL", redis_url)
    async with open_sink() as sink:
        Path("relay.toml").write_text(f'{RULES}[alerts]\nurl = "{sink.url}/x"\nsecret = "{SECRET.text}"\n')
        yield sink


@pytest.mark.usefixtures("sink")
async def test_firing_alerts_are_listed_with_what_is_unsent(redis: Redis) -> None:
    async with acquire_lease(redis, redis.key.job_id(LEASE)) as lease:
        await state.save(redis, lease.token, {"a": FIRING, "b": PENDING}, [b"{}"], NOW_MS)
    await state.record_failure(redis, state.Sending(), "https://x responds 404", NOW_MS / 1000)
    said = await main_here("alerts", "--utc")
    assert said.code == 1
    assert said.out.splitlines() == [
        "Alerts that are firing: 1",
        "alert         severity  since                      what",
        "dead_letters  warning   2026-09-14 09:15:02+00:00  dead letters of the subscription bot: 2",
        "",
        "1 further problem must last longer before an alert begins.",
        "1 webhook not sent yet; the last try failed: https://x responds 404",
    ]
    found = (await main_here("alerts", "--json")).json
    assert (found["is_on"], found["pending"]) == (True, 1)
    assert found["unsent"] == {"webhooks": 1, "error": "https://x responds 404"}
    assert [alert["condition"] for alert in found["firing"]] == ["dead_letters"]


async def test_nothing_firing_is_exit_code_0_and_says_how_to_begin(sink: Sink) -> None:
    Path("relay.toml").write_text(RULES)
    said = await main_here("alerts")
    assert said.code == 0
    assert "Alerts that are firing: 0" in said.out
    assert "there is no [alerts] in relay.toml; add it" in said.out
    failed = await main_here("alerts", "test")
    assert (failed.code, failed.out) == (1, "")
    assert "there is no [alerts] in relay.toml; add it" in failed.err
    assert not sink.received


async def test_test_webhook_is_sent_and_its_failure_is_told(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTS_URL", f"{sink.url}/x")
    Path("relay.toml").write_text(f'{RULES}[alerts]\nurl = "env:ALERTS_URL"\nsecret = "{SECRET.text}"\n')
    said = await main_here("alerts", "test", "--json")
    assert said.code == 0
    [received] = sink.received
    assert said.json == {"sent": True, "id": received.headers["webhook-id"], "signed": True}
    body = Webhook(SECRET.text).verify(received.body, received.headers)
    assert body["type"] == "relay.alert.test"
    assert "nothing is wrong" in json.loads(received.body)["text"]
    port = reserve_port()
    monkeypatch.setenv("ALERTS_URL", f"http://127.0.0.1:{port}/x")
    failed = await main_here("alerts", "test")
    assert failed.is_one_message_without_traceback()
    assert f"http://127.0.0.1:{port} cannot be reached" in failed.err
