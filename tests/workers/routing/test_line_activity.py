"""The router counts the activity of lines, and records what events tell of them."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from relay.core.event import Dialect, VerifiedWebhook
from relay.linq.api.v3 import ListedLine
from relay.linq.payloads.line_changes import LineChange
from relay.store.account_events import AccountEvents
from relay.store.driver.client import ask
from relay.store.lines import activity, linq_facts
from relay.store.lines.activity import ActivityCounter, EventTimes, Tally, read_activity, read_event_times
from relay.store.lines.line_keys import LineKeys
from relay.store.lines.linq_facts import read_facts, record_changes, record_list
from relay.store.lines.rhythm import HOUR_MS, HOURS
from tests.building import LINE, OTHER_LINE, body_of, webhook_of
from tests.support import eventually
from tests.workers.conftest import accept, emptied, routing, topic

if TYPE_CHECKING:
    import pytest

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis


def change(
    event_type: str, line: str = LINE, at: str = "2026-09-14T09:15:02Z", url_line: str | None = None, **data: Any
) -> VerifiedWebhook:
    event_id = f"{event_type} {line} {at} {url_line}".replace(" ", "-")
    body = body_of(event_type, event_id, phone_number=line, changed_at=at, **data)
    return VerifiedWebhook(event_id, event_type, Dialect.V3, event_id, url_line, body)


async def route(redis: Redis, rules: ConfigFile, *webhooks: VerifiedWebhook) -> None:
    await accept(redis, *webhooks)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))


async def test_events_are_counted_by_line_hour_and_direction(redis: Redis, rules: ConfigFile) -> None:
    lineless = VerifiedWebhook(
        "p", "payment.succeeded", Dialect.V3, "p", None, body_of("payment.succeeded", chat_id=None)
    )
    outbound = [webhook_of("message.failed") for _ in range(200)]
    others = [webhook_of("call.ringing", OTHER_LINE), lineless]
    before = time.time()
    await route(redis, rules, *outbound, *others)
    times = await eventually(lambda: read_event_times(redis))
    assert times.keys() == {LINE, OTHER_LINE}
    assert times[OTHER_LINE] == EventTimes(times[OTHER_LINE].event_ms)
    assert times[LINE].inbound_ms is None
    assert times[LINE].outbound_ms == times[LINE].event_ms >= before * 1000 - 1000
    found = await read_activity(redis, [LINE, OTHER_LINE, "+16465550199"], time.time() * 1000)
    hours = {int(before * 1000) // HOUR_MS, int(time.time() * 1000) // HOUR_MS}
    assert [sum(found[line].count(hour) for hour in hours) for line in found] == [200, 1, 0]
    [week] = [name async for name in redis.scan_iter(LineKeys(redis).week(LINE, 0).replace(":0:", ":*:"))]
    assert await redis.memory_usage(week) < 900
    assert await redis.ttl(week) > 60 * 86400


async def test_overwritten_activity_stops_no_event(redis: Redis, rules: ConfigFile) -> None:
    await ask(redis.set(LineKeys(redis).event_times, "x"))
    await ask(redis.set(LineKeys(redis).facts, "x"))
    with capture_logs() as logs:
        await route(redis, rules, webhook_of(), change("phone_number.released"), webhook_of())
    assert len(await topic(redis, "messages")) == 2
    suspended = [line["error"] for line in logs if line["event"] == "lines.suspended"]
    assert f"{LineKeys(redis).event_times} is a string, not a hash" in suspended


async def test_overwritten_week_costs_only_what_it_would_have_got(redis: Redis) -> None:
    now_ms = round(time.time() * 1000)
    names = [f"+16465550{number}" for number in range(200, 450)]
    broken = LineKeys(redis).week(names[0], now_ms // HOUR_MS // HOURS)
    await ask(redis.hset(broken, "x", "y"))
    counter = ActivityCounter(redis)
    with capture_logs() as logs:
        counter.add(Tally(now_ms, Counter({(name, "inbound"): 2 for name in names})))
        await counter.write()
    assert [line["error"] for line in logs] == [f"{broken} is a hash, not a string"]
    assert await read_event_times(redis) == dict.fromkeys(names, EventTimes(now_ms, now_ms))
    found = await read_activity(redis, names[1:], now_ms)
    assert {each.count(now_ms // HOUR_MS) for each in found.values()} == {2}


async def test_counts_added_before_an_error_are_not_added_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = round(time.time() * 1000)
    names = [f"+16465550{number}" for number in range(200, 450)]
    add, calls = activity._add, 0

    async def fail_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RedisConnectionError
        return await add(*arguments)

    monkeypatch.setattr(activity, "_add", fail_once)
    counter = ActivityCounter(redis)
    counter.add(Tally(now_ms, Counter({(name, "outbound"): 1 for name in names})))
    for _ in range(2):
        await counter.write(at_once=True)
    found = await read_activity(redis, names, now_ms)
    assert {each.count(now_ms // HOUR_MS) for each in found.values()} == {1}
    assert (await read_event_times(redis)).keys() == set(names)


async def test_line_changes_in_events_are_recorded_and_logged(redis: Redis, rules: ConfigFile) -> None:
    await record_list(redis, [ListedLine(LINE, "iMessage", "HEALTHY"), ListedLine(OTHER_LINE)], 1_000)
    flagged = change("phone_number.status_updated", new_status="FLAGGED", new_reputation="CRITICAL")
    older = change("phone_number.status_updated", at="2026-09-13T09:15:02Z", new_status="ACTIVE")
    with capture_logs() as logs:
        await route(
            redis,
            rules,
            flagged,
            older,
            change("phone_number.released", OTHER_LINE),
            change("phone_number.status_updated", "no line"),
        )
    facts = await read_facts(redis)
    assert (facts[LINE].kind, facts[LINE].status, facts[LINE].reputation) == ("iMessage", "FLAGGED", "CRITICAL")
    assert facts[LINE].is_flagged
    assert not facts[OTHER_LINE].is_flagged
    assert facts[OTHER_LINE].released_ms == 1789377302000
    warnings = [(line["line"], line["log_level"]) for line in logs if line["event"] == "line.changed"]
    assert (LINE, "warning") in warnings
    assert (OTHER_LINE, "warning") in warnings
    await record_list(redis, [ListedLine(LINE, "iMessage", "HEALTHY"), ListedLine(OTHER_LINE)], 1_789_377_402_000)
    later = await read_facts(redis)
    assert later[LINE].reputation == "HEALTHY"  # the newer of both counts
    assert later[OTHER_LINE].released_ms is None


async def test_a_lines_secret_tells_nothing_of_other_lines(redis: Redis, rules: ConfigFile) -> None:
    kinds = ("phone_number.released", "phone_number.assigned", "phone_number.status_updated")
    forged = [change(kind, LINE, url_line=OTHER_LINE, new_status="FLAGGED") for kind in kinds]
    body = body_of("webhook_subscription.disabled", "disabled", webhook_subscription={"id": "s-1"})
    forged.append(VerifiedWebhook("disabled", "webhook_subscription.disabled", Dialect.V3, "d", OTHER_LINE, body))
    await route(redis, rules, *forged)
    assert await read_facts(redis) == {}
    waiting = [event.type for event in await AccountEvents(redis).waiting()]
    assert waiting == list(kinds), "a look at Linq follows, which decides; nothing else"
    own = change("phone_number.released", OTHER_LINE, url_line=OTHER_LINE)
    await route(redis, rules, own, change("phone_number.assigned", LINE))
    assert (await read_facts(redis)).keys() == {LINE, OTHER_LINE}


async def test_an_account_tells_nothing_of_lines_of_others(redis: Redis) -> None:
    await record_list(redis, [ListedLine(LINE)], 1_000, "live")
    for account in (None, "test"):
        await record_changes(redis, [LineChange(LINE, 2_000, is_released=True, account=account)])
    assert (await read_facts(redis))[LINE].released_ms is None
    await record_changes(redis, [LineChange(LINE, 2_000, is_released=True, account="live")])
    assert (await read_facts(redis))[LINE].released_ms == 2_000


async def test_a_time_in_the_future_does_not_outlast_true_events(redis: Redis, rules: ConfigFile) -> None:
    await route(redis, rules, change("phone_number.status_updated", at="9999-01-01T00:00:00Z", new_status="FLAGGED"))
    assert (await read_facts(redis))[LINE].is_flagged
    later = datetime.fromtimestamp(time.time() + 1, UTC).isoformat()
    await route(redis, rules, change("phone_number.status_updated", at=later, new_status="ACTIVE"))
    assert not (await read_facts(redis))[LINE].is_flagged


async def test_lines_that_only_events_name_are_bounded(
    redis: Redis, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linq_facts, "_MAX_UNLISTED", 3)
    await record_list(redis, [ListedLine(LINE)], 1_000)
    many = [change("phone_number.released", f"+1646555020{number}") for number in range(9)]
    await route(redis, rules, *many, change("phone_number.released"))
    facts = await read_facts(redis)
    assert len(facts) == 4
    assert facts[LINE].released_ms


async def test_lines_that_only_payloads_name_are_bounded(
    redis: Redis, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "MAX_KNOWN_LINES", 3)
    await record_list(redis, [ListedLine(LINE)], 1_000)
    await route(redis, rules, *(change("phone_number.assigned", f"+1646555020{number}") for number in range(9)))
    await route(redis, rules, change("phone_number.assigned"))
    times = await read_event_times(redis)
    assert LINE in times
    assert len(times) == 4
