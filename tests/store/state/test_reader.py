"""The state in Redis as metrics: each value against real streams, lanes and groups."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.core.delivery.circuit_breaker import OpenBreaker
from relay.core.delivery.outcome import Attempt, DeadLettered, Outcome, RetryAt
from relay.core.secret import new_key
from relay.linq.api.v3 import ListedLine
from relay.metrics.process_metrics import ProcessMetrics
from relay.store.driver.client import ask, open_redis
from relay.store.driver.streams import pages
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.position import drop_lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.lanes.suspensions import Suspensions
from relay.store.ledger import kept
from relay.store.lines.linq_facts import record_list
from relay.store.state import reader as module
from relay.store.state.reader import RedisReader
from relay.store.state.sweeps import record_sweep
from tests.building import LINE, OTHER_LINE, SECRET, config_of
from tests.metrics.scrapes import Series, scraped
from tests.support import raw_server

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

RULES = f"""
[linq]
silent_after = "1h"

[[topics]]
name = "messages"
events = ["message.*"]
size = "1MB"
hard_size = "2MB"

[[subscriptions]]
name = "bot"
topic = "messages"
url = "https://bot.example.com"
secret = "{SECRET.text}"

[[subscriptions]]
name = "crm"
topic = "messages"
url = "https://crm.example.com"
secret = "{SECRET.text}"
paused = true
"""
FAILED = Attempt(Outcome.FAILED, at_ms=1, took_ms=1, status=500)


async def no_rules() -> None:
    """Return no rules, as before the first valid relay.toml."""


async def read(redis: Redis, rules: str | None = RULES) -> Series:
    """Return the series of one reading; ages are of entries that `add` has dated."""
    metrics = ProcessMetrics("admin")

    async def current() -> RelayConfig | None:
        return config_of(rules) if rules else None

    metrics.add_reader(RedisReader(redis, current))
    return await scraped(metrics)


async def add(redis: Redis, stream: str, *ages: float) -> None:
    """Add an entry of each age, seconds, the oldest first."""
    for age in ages:
        fields = {"id": "e", "type": "message.received", "at": "1", "version": "v", "body": "{}"}
        await redis.xadd(stream, fields, id=f"{round((time.time() - age) * 1000)}-*")  # type: ignore[arg-type]


def near(seconds: float) -> object:
    """Equal an age of so many seconds, on a machine that may be slow."""
    return pytest.approx(seconds, abs=30)


async def test_events_topics_and_pull_groups(redis: Redis) -> None:
    stream = redis.key.topic("messages")
    await add(redis, redis.key.inbox, 300)
    await ask(redis.hset(redis.key.counts, mapping={"accepted": 9, "routed": 7, f"routed:{stream}": 7}))
    await redis.xadd(redis.key.quarantine, {"body": "x"})
    await redis.xgroup_create(stream, "team", mkstream=True)
    await redis.xgroup_create(stream, "elsewhere")
    await add(redis, stream, 7200, 3600, 600)
    await redis.xreadgroup("team", "one", {stream: ">"}, count=2)
    await redis.xgroup_setid(stream, "elsewhere", "1-1")
    await record_sweep(redis, 5000)
    found = await read(redis)
    size = await redis.memory_usage(stream)
    expected = {
        "redis_up": 1,
        "redis_read_complete": 1,
        "redis_memory_max_bytes": 0,
        "redis_connected_replicas": 0,
        "inbox_events": 1,
        "inbox_oldest_age_seconds": near(300),
        "quarantine_entries": 1,
        "ledger_events_imbalance": 1,  # nine were accepted, seven were routed, one is in the inbox
        "last_sweep_timestamp_seconds": 5,
        'topic_events_total{topic="messages"}': 7,
        'topic_entries{topic="messages"}': 3,
        'topic_bytes{topic="messages"}': size,
        'topic_cap_ratio{topic="messages"}': pytest.approx(size / 2e6),
        'topic_oldest_age_seconds{topic="messages"}': near(7200),
        'pull_group_lag{group="team",topic="messages"}': 1,
        'pull_group_pending{group="team",topic="messages"}': 2,
        'pull_group_oldest_unread_age_seconds{group="team",topic="messages"}': near(600),
        'pull_group_idle_seconds{group="team",topic="messages"}': near(0),
        'pull_group_lag{group="elsewhere",topic="messages"}': 3,
        'pull_group_oldest_unread_age_seconds{group="elsewhere",topic="messages"}': near(7200),
    }
    assert {name: found.get(f"relay_{name}") for name in expected} == expected
    assert found["relay_redis_round_trip_seconds"] > 0 < found["relay_redis_memory_used_bytes"]
    assert 'relay_pull_group_idle_seconds{group="elsewhere",topic="messages"}' not in found, "it has no consumer"


async def test_subscriptions(redis: Redis) -> None:
    """One event each waits for a retry, is dead, is in flight and is unread, the oldest first."""
    lane, crm = Lane(redis, "bot", "messages"), Lane(redis, "crm", "messages")
    await lane.ensure()
    await crm.ensure()
    await add(redis, lane.topic_stream, 9000, 8000, 7000, 600)
    await redis.set(redis.key.lease("job"), "me")
    retried, dead, _ = await lane.read_new(3)
    async with Settler(redis, "job", "me") as settler:
        await settler.settle(Settlement(lane, retried, FAILED, Tries(1, 1, "failed"), RetryAt(due_ms=9), 1))
        await settler.settle(Settlement(lane, dead, FAILED, Tries(1, 1, "failed"), DeadLettered("x"), 1))
    await Suspensions(redis).save_open_breaker("bot", OpenBreaker(1, 2, 3, "down"))
    series = await read(redis)
    labels = '{subscription="bot",topic="messages"}'
    found = {
        name: series.get(f"relay_{name}{labels}")
        for name in (
            "subscription_waiting",
            "subscription_oldest_waiting_age_seconds",
            "subscription_retrying",
            "subscription_dead_letters",
            "subscription_circuit_breaker_open",
            "subscription_paused",
            "subscription_suspended",
        )
    }
    assert list(found.values()) == [2, near(7000), 1, 1, 1, 0, 0]
    of_crm = labels.replace("bot", "crm")
    assert series[f"relay_subscription_paused{of_crm}"] == 1
    assert series[f"relay_subscription_oldest_waiting_age_seconds{of_crm}"] == near(9000)
    assert {series[f'relay_ledger_imbalance{{subscription="{name}"}}'] for name in ("bot", "crm")} == {0}

    await redis.set(redis.key.lane("bot"), "overwritten by another client")
    series = await read(redis, None)
    assert series['relay_subscription_suspended{subscription="bot",topic=""}'] == 1
    assert f"relay_subscription_waiting{labels}" not in series
    assert series[f"relay_subscription_waiting{of_crm}"] == 4
    assert series["relay_redis_read_complete"] == 1


async def test_lines_and_drift(redis: Redis) -> None:
    now_ms = round(time.time() * 1000)
    await Keyring(redis, Cipher(new_key())).store(LINE, 1, "linq-1", SECRET, 0)
    seen = {LINE: f"{now_ms - 7_200_000} 1", OTHER_LINE: "5000 1", "v2": f"{now_ms} 0"}
    await ask(redis.hset(redis.key.last_seen, mapping=seen))
    await ask(redis.hset(redis.key.drift, mapping={"v3:missing": 2, "v3:at": 1000}))
    found = await read(redis)
    assert found[f'relay_line_last_event_timestamp_seconds{{line="{OTHER_LINE}"}}'] == 5
    silent = {name: value for name, value in found.items() if name.startswith("relay_line_silent")}
    assert silent == {f'relay_line_silent{{line="{LINE}"}}': 1, 'relay_line_silent{line="v2"}': 0}, "not removed lines"
    assert found['relay_linq_drift{api="v3",kind="missing"}'] == 2

    await Keyring(redis, Cipher(new_key()), "ops").store(OTHER_LINE, 1, "linq-2", SECRET, 0)
    assert (await read(redis))[f'relay_line_silent{{account="ops",line="{OTHER_LINE}"}}'] == 1, "known by its secret"
    await record_list(redis, [ListedLine(LINE, "iMessage", "HEALTHY")], now_ms, "sales")
    found = await read(redis)
    assert f'relay_line_silent{{account="sales",line="{LINE}"}}' in found, "its account, where several are configured"
    assert found['relay_linq_last_check_timestamp_seconds{api="v3"}'] == 1000


async def test_thousand_subscriptions_are_read_in_few_round_trips(redis: Redis) -> None:
    for page in pages(range(1000), 50):
        await asyncio.gather(*(Lane(redis, f"s{number}", f"t{number % 4}").ensure() for number in page))
    for number in range(4):
        await add(redis, redis.key.topic(f"t{number}"), 60, 50)
    metrics = ProcessMetrics("admin")
    metrics.add_reader(RedisReader(redis, no_rules, max_age=0))
    await redis.config_resetstat()
    began, text = time.monotonic(), (await metrics.exposition()).decode()
    assert time.monotonic() - began < 10, "Prometheus waits for ten seconds"
    waiting = [line for line in text.splitlines() if line.startswith("relay_subscription_waiting{")]
    assert (len(waiting), {line.rpartition(" ")[2] for line in waiting}) == (1000, {"2.0"})
    assert (await redis.info("commandstats"))["cmdstat_exec"]["calls"] < 20
    await drop_lane(redis, "s7")
    assert 's7"' in text
    assert b's7"' not in await metrics.exposition()


async def test_lanes_at_rest_are_shown_and_not_read_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_IN_TURN", 0)
    for name, topic in (("bot", "messages"), ("crm", "messages"), ("gone", "others")):
        await Lane(redis, name, topic).ensure()
    metrics = ProcessMetrics("admin")

    async def rules() -> RelayConfig:
        return config_of(RULES)

    metrics.add_reader(RedisReader(redis, rules, max_age=0))

    async def of_lanes() -> Series:
        found = await scraped(metrics)
        return {
            name: value for name, value in found.items() if name.startswith(("relay_subscription", "relay_ledger_imb"))
        }

    first = await of_lanes()
    await ask(redis.hincrby(redis.key.lane("gone"), "delivered", 3))  # which a reading of it would notice
    assert await of_lanes() == first
    await Suspensions(redis).pause("gone", "by an operator", 1)
    await Suspensions(redis).save_open_breaker("bot", OpenBreaker(1, 2, 3, "down"))
    series = await of_lanes()
    assert series['relay_subscription_paused{subscription="gone",topic="others"}'] == 1
    assert series['relay_subscription_circuit_breaker_open{subscription="bot",topic="messages"}'] == 1

    await add(redis, redis.key.topic("messages"), 7200)
    await ask(redis.hincrby(redis.key.counts, f"routed:{redis.key.topic('messages')}", 1))
    series = await of_lanes()
    assert series['relay_subscription_waiting{subscription="crm",topic="messages"}'] == 1
    assert series['relay_subscription_oldest_waiting_age_seconds{subscription="crm",topic="messages"}'] == near(7200)
    assert series['relay_subscription_waiting{subscription="gone",topic="others"}'] == 0


async def test_slow_redis_does_not_delay_a_scrape(monkeypatch: pytest.MonkeyPatch, redis: Redis) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "_SERVER_DEADLINE", 0.05)
    async with raw_server(hang) as port:
        silent = open_redis(f"redis://127.0.0.1:{port}", 60)
        with capture_logs() as logs:
            found = await read(silent)
        await silent.aclose()
    redis_series = {name: value for name, value in found.items() if name.startswith("relay_redis")}
    assert redis_series == {"relay_redis_up": 0, "relay_redis_read_complete": 0}
    assert [line["event"] for line in logs] == ["metrics.incomplete"]

    metrics = ProcessMetrics("admin")
    metrics.add_reader(RedisReader(redis, no_rules, deadline=0))
    found = await scraped(metrics)
    assert (found["relay_redis_up"], found["relay_redis_read_complete"]) == (1, 0)
