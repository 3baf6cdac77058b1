"""The alerts of the relay itself: webhooks about what begins and ends, each sent once, by one worker."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.alerts import LEASE, state
from relay.config.file import ConfigFile
from relay.config.settings import Settings
from relay.linq.api.v3 import ListedLine
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.driver.lease import Lease, acquire_lease
from relay.store.lines.linq_facts import record_list
from relay.store.state import kept
from tests.building import LINE, OTHER_LINE, SECRET
from tests.certificates import Authority, tls_server
from tests.support import KEYS
from workers.maintenance.alerting import Alerting
from workers.runtime.jobs import alert
from workers.runtime.parts import context_of, worker_parts

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.support import Clock
    from tests.workers.conftest import Received, Sink

QUARANTINED = {"at": 1, "dialect": "v3", "line": "", "reason": "not JSON", "body": "{"}
IMMEDIATELY = 'quarantine_not_empty = { for = "0s" }'


class Worker:
    """The alerts of a worker process."""

    def __init__(self, redis: Redis, rules: Path, clock: Clock) -> None:
        self._redis = redis
        self._file = ConfigFile(rules)
        self._alerting = Alerting(redis, self._file, clock)

    def reload(self) -> None:
        """Read the changed rules."""
        self._file.check()

    async def run(self) -> None:
        """Run the job once."""
        async with acquire_lease(self._redis, KEYS.job_id(LEASE)) as lease:
            await self._alerting.run(lease)


@pytest.fixture
def rules(sink: Sink, tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    # Other servers of the tests write no append-only file.
    table = f'[alerts]\nurl = "{sink.url}/alerts"\nsecret = "{SECRET.text}"\noff = ["redis_persistence_failing"]\n'
    path.write_text(table + IMMEDIATELY)
    return path


@pytest.fixture
def worker(redis: Redis, rules: Path, clock: Clock) -> Worker:
    return Worker(redis, rules, clock)


async def quarantine(redis: Redis) -> None:
    await redis.xadd(redis.key.quarantine, QUARANTINED)  # type: ignore[arg-type]


def told(sink: Sink) -> list[tuple[str, str]]:
    """Return type and text of each webhook that arrived."""
    bodies = [json.loads(post.body) for post in sink.received]
    return [(body["type"], body["text"]) for body in bodies]


async def test_problem_is_told_once_when_it_begins_and_ends(
    redis: Redis, worker: Worker, sink: Sink, clock: Clock
) -> None:
    await quarantine(redis)
    for _ in range(3):
        await worker.run()
        clock.now += 30
    [began] = sink.received
    body: dict[str, Any] = json.loads(began.body)
    assert body == {
        "type": "relay.alert.began",
        "timestamp": "2026-09-14T09:15:02Z",
        "text": "[warning] quarantine_not_empty: webhooks in the quarantine: 1. What to do: "
        "https://docs.example.com/linq-relay/runbook.md#relayquarantinenotempty",
        "data": {
            "alert": "quarantine_not_empty",
            "severity": "warning",
            "labels": {},
            "summary": "webhooks in the quarantine: 1",
            "value": 1.0,
            "since": "2026-09-14T09:15:02Z",
            "runbook_url": "https://docs.example.com/linq-relay/runbook.md#relayquarantinenotempty",
        },
    }
    await redis.delete(redis.key.quarantine)
    await worker.run()
    await worker.run()
    assert told(sink)[1:] == [
        (
            "relay.alert.ended",
            "[ended] quarantine_not_empty, after 1.5m. It was: webhooks in the quarantine: 1",
        )
    ]


async def test_several_workers_and_a_restart_tell_a_problem_once(
    redis: Redis, rules: Path, sink: Sink, clock: Clock
) -> None:
    await quarantine(redis)
    for _ in range(3):  # each with a state of its own, as after a restart
        await Worker(redis, rules, clock).run()
    assert len(told(sink)) == 1
    stale = Lease(KEYS.job_id(LEASE))
    with pytest.raises(LeaseLost):
        await Alerting(redis, ConfigFile(rules), clock).run(stale)
    assert len(told(sink)) == 1


async def test_alert_that_the_url_refuses_is_sent_later(redis: Redis, worker: Worker, sink: Sink, clock: Clock) -> None:
    async def refuse(_: Received) -> web.Response:
        return web.Response(status=503, text="later")

    sink.answer = refuse
    await quarantine(redis)
    with capture_logs() as logs:
        await worker.run()
    [failed] = [line for line in logs if line["event"] == "alerts.not_sent"]
    assert failed["error"] == f"{sink.url} responds 503: later"
    await redis.delete(redis.key.quarantine)
    await worker.run()
    assert len(sink.received) == 1, "the next try is due later"
    sink.answer = None
    clock.now += 31
    await worker.run()
    assert [kind for kind, _ in told(sink)] == ["relay.alert.began", "relay.alert.began", "relay.alert.ended"]
    ids = [post.headers["webhook-id"] for post in sink.received]
    assert ids[0] == ids[1] != ids[2]
    assert await state.sending(redis) == state.Sending()


async def test_problem_that_does_not_last_is_not_told(redis: Redis, rules: Path, sink: Sink, clock: Clock) -> None:
    rules.write_text(rules.read_text().replace(IMMEDIATELY, ""))
    worker = Worker(redis, rules, clock)
    await quarantine(redis)
    await worker.run()
    clock.now += 60
    await redis.delete(redis.key.quarantine)
    await worker.run()
    assert not sink.received
    await quarantine(redis)
    await worker.run()
    clock.now += 301
    await worker.run()
    assert [kind for kind, _ in told(sink)] == ["relay.alert.began"]


async def test_destination_that_egress_refuses_gets_nothing(
    redis: Redis, rules: Path, sink: Sink, clock: Clock
) -> None:
    rules.write_text(
        rules.read_text().replace("127.0.0.1", "internal.example") + '\n[egress]\nallow = ["10.0.0.0/8"]\n'
    )
    await quarantine(redis)
    with capture_logs() as logs:
        await Worker(redis, rules, clock).run()
    assert any(line["event"] == "alerts.not_sent" for line in logs)
    assert not sink.received


async def test_lines_with_and_without_an_account_are_looked_at(
    redis: Redis, rules: Path, sink: Sink, clock: Clock
) -> None:
    table = 'line_silent = { for = "0s" }\n[linq]\nsilent_after = "1h"\n'
    rules.write_text(rules.read_text().replace(IMMEDIATELY, table))
    await redis.hset(KEYS.last_seen, mapping={LINE: "1000 1", f"sales/{OTHER_LINE}": "1000 1"})  # type: ignore[misc]
    await record_list(redis, [ListedLine(LINE), ListedLine(OTHER_LINE)], round(clock() * 1000))
    await Worker(redis, rules, clock).run()
    assert sorted(text.split()[4] for _, text in told(sink)) == [LINE, OTHER_LINE]


async def test_many_lines_are_judged_every_five_minutes(
    redis: Redis, rules: Path, sink: Sink, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_MANY_LINES", 1)
    rules.write_text(rules.read_text().replace(IMMEDIATELY, 'line_flagged = { for = "0s" }\n'))
    worker = Worker(redis, rules, clock)
    await record_list(redis, [ListedLine(LINE), ListedLine(OTHER_LINE, "iMessage", "CRITICAL")], round(clock() * 1000))
    await worker.run()
    assert [OTHER_LINE in text for _, text in told(sink)] == [True]
    await record_list(redis, [ListedLine(LINE), ListedLine(OTHER_LINE)], round(clock() * 1000))
    await worker.run()
    assert len(told(sink)) == 1
    monkeypatch.setattr(kept, "_INTERVAL_MS", 0)
    rules.write_text(rules.read_text() + "[linq]\n")
    worker.reload()
    await worker.run()
    assert [kind for kind, _ in told(sink)] == ["relay.alert.began", "relay.alert.ended"]


async def test_topics_that_are_large_or_pulled_are_looked_at(
    redis: Redis, rules: Path, sink: Sink, clock: Clock
) -> None:
    table = 'topic_near_cap = { above = 0.01, for = "0s" }\npull_group_not_read = { above = "1h", for = "0s" }\n'
    topic = '[[topics]]\nname = "{}"\nevents = ["*"]\nsize = "1MB"\nhard_size = "1MB"\n'
    topics = "".join(map(topic.format, ("large", "pulled", "small")))
    rules.write_text(rules.read_text().replace(IMMEDIATELY, table) + topics)
    await redis.xadd(KEYS.topic("large"), {"id": "e", "body": "x" * 15_000})
    for name in ("pulled", "small"):
        await redis.xadd(KEYS.topic(name), {"id": "e"}, id="1-0")
    await redis.xgroup_create(KEYS.topic("pulled"), "crm", id="0")
    await Worker(redis, rules, clock).run()
    assert sorted(text.split(":")[0] for _, text in told(sink)) == [
        "[warning] pull_group_not_read",
        "[warning] topic_near_cap",
    ]


async def test_overwritten_key_ends_no_alert(redis: Redis, worker: Worker, sink: Sink) -> None:
    await quarantine(redis)
    await worker.run()
    await redis.rename(redis.key.quarantine, "elsewhere")
    await redis.set(redis.key.quarantine, "overwritten")
    with capture_logs() as logs:
        await worker.run()
    assert [line["event"] for line in logs] == ["alerts.not_evaluated"]
    assert len(told(sink)) == 1


async def test_certificate_that_ends_soon_is_told_while_its_server_is_away(
    redis: Redis, rules: Path, sink: Sink, clock: Clock, tmp_path: Path
) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    async with tls_server(authority, tmp_path) as (url, connections):
        subscription = f'[[subscriptions]]\nname = "bot"\ntopic = "t"\nurl = "{url}"\nca_file = "ca.pem"\n'
        topic = f'secret = "{SECRET.text}"\n[[topics]]\nname = "t"\nevents = ["*"]\n'
        rules.write_text(f'{rules.read_text()}\ncertificate_expiring = {{ for = "0s" }}\n{subscription}{topic}')
        clock.now = time.time()
        await Worker(redis, rules, clock).run()
    assert told(sink)[0][1].startswith(
        "[warning] certificate_expiring: the certificate of the subscription bot ends in "
    )
    clock.now += 24 * 3600
    await Worker(redis, rules, clock).run()
    assert (len(connections), len(sink.received)) == (1, 1)


async def test_job_sends_unless_another_worker_is_at_it(redis: Redis, redis_url: str, rules: Path, sink: Sink) -> None:
    await quarantine(redis)
    settings = Settings(redis_url=redis_url, relay_config=rules)
    async with worker_parts(settings) as parts:
        context = context_of(parts) | {"job_id": KEYS.job_id("alert")}
        async with acquire_lease(redis, KEYS.job_id(LEASE)):
            await alert(context)
        assert not sink.received
        await alert(context)
    assert len(sink.received) == 1
