from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

import workers.delivery.partition_worker
import workers.delivery.source
from relay.config.file import ConfigFile
from relay.core.delivery.outcome import Outcome
from relay.core.errors import StoreUnavailable
from relay.core.event_filter import EventFilter
from relay.store import keys, wakeups
from relay.store.lanes.attempt_log import attempts_of
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.lane import Lane, mark_ready
from tests.building import arrival_of
from tests.support import eventually
from tests.workers.conftest import Received, Sink, accept, rules_for
from tests.workers.delivering import delivering, feed, ledger_of, now_ms

if TYPE_CHECKING:
    from pathlib import Path

    from redis.asyncio import Redis

    from relay.store.lanes.lane import Delivery


@pytest.fixture
async def lanes(redis: Redis) -> dict[str, Lane]:
    """Both lanes, standing."""
    lanes = {"bot": Lane(redis, "bot", "messages"), "crm": Lane(redis, "crm", "everything")}
    for lane in lanes.values():
        await lane.ensure()
    return lanes


async def read_unseen(redis: Redis, lane: Lane) -> None:
    """Makes the lane's next delivery pending behind its holder's back."""
    [[_, [_]]] = await redis.xreadgroup(lane.group, keys.CONSUMER, {lane.topic_stream: ">"}, count=1)


async def test_what_is_routed_to_a_lane_is_posted_to_its_url_once(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    events = [f"e{number}" for number in range(300)]
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], *events[:150])
        await feed(redis, lanes["bot"], *events[150:])
        await feed(redis, lanes["crm"], "x")

        async def delivered() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 300

        await eventually(delivered)
    assert sorted(sink.ids("/bot")) == sorted(events)
    assert sink.ids("/crm") == ["x"]
    row = await ledger_of(redis, "bot")
    assert (row.routed, row.delivered, row.waiting, row.balances) == (300, 300, 0, True)


async def test_what_nobody_knows_of_is_looked_for_when_redis_was_away(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "first")
        await eventually(lambda: sink.ids("/bot") == ["first"])
        await redis.xadd(lanes["bot"].topic_stream, {"id": "unknown", "at": now_ms(), "body": "{}"})
        await read_unseen(redis, lanes["bot"])  # as if Redis had forgotten that it was settled
        await redis.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: sink.ids("/bot") == ["first", "unknown"])


async def test_what_nobody_knows_of_is_found_by_counting(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.delivery.source, "_COUNT_EVERY", 0.02)
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "first")
        await eventually(lambda: sink.ids("/bot") == ["first"])
        await redis.xadd(lanes["bot"].topic_stream, {"id": "unknown", "at": now_ms(), "body": "{}"})
        await read_unseen(redis, lanes["bot"])
        await eventually(lambda: sink.ids("/bot") == ["first", "unknown"])


async def test_a_subscription_that_moves_to_another_topic_still_gets_what_it_was_owed(
    redis: Redis, rules_file: Path, lanes: dict[str, Lane], sink: Sink
) -> None:
    owed = [f"e{number}" for number in range(120)]
    await feed(redis, lanes["bot"], *owed)
    await lanes["bot"].read_new(70)  # some were read by a worker that is gone
    rules_file.write_text(rules_file.read_text().replace('topic = "messages"', 'topic = "everything"'))
    async with ConfigFile(rules_file) as moved, delivering(redis, moved):
        await eventually(lambda: len(sink.ids("/bot")) == len(owed))
        await feed(redis, lanes["crm"], "new")
        await mark_ready(redis, wakeups.partition_of("bot"), ["bot"], 1)
        await eventually(lambda: "new" in sink.ids("/bot"))
        await redis.xadd(lanes["bot"].topic_stream, {"id": "not ours any more", "at": "1", "body": "{}"})
    assert sorted(sink.ids("/bot")) == sorted([*owed, "new"])
    row = await ledger_of(redis, "bot")
    assert (row.routed, row.delivered, row.waiting, row.balances) == (121, 121, 0, True)


async def test_a_lane_that_breaks_is_said_and_started_again(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.delivery.partition_worker, "_POLL_INTERVAL", 0.02)
    read_new, broken = Lane.read_new, ["bot"]

    async def breaks_once(lane: Lane, count: int, token: str = "", room: int | None = None) -> list[Delivery]:
        if lane.name in broken:
            broken.remove(lane.name)
            raise ZeroDivisionError
        return await read_new(lane, count, token, room)

    monkeypatch.setattr(Lane, "read_new", breaks_once)
    with capture_logs() as logs:
        async with delivering(redis, rules):
            await feed(redis, lanes["bot"], "e1")
            await eventually(lambda: sink.ids("/bot") == ["e1"])
    assert [line["subscription"] for line in logs if line["event"] == "lane.error"] == ["bot"]


async def test_no_more_than_its_concurrency_is_in_flight(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, bot="concurrency = 7"))
    rules.reload()
    now, most = 0, 0

    async def answer(_: Received) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return web.Response()

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], *map(str, range(60)))
        await eventually(lambda: len(sink.received) == 60)
    assert most == 7


async def test_a_failure_is_tried_again_on_schedule_then_dead_then_replayed(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["200ms", "400ms"]'))
    rules.reload()
    works = False

    async def answer(_: Received) -> web.Response:
        return web.Response(status=200 if works else 500, text="no")

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")

        async def died() -> list[object]:
            return [letter async for letter in DeadLetters(redis).of("bot")]

        await eventually(died)
        assert sink.ids() == ["e1"] * 3
        assert [one.headers["relay-attempt"] for one in sink.received] == ["1", "2", "3"]
        first, second, third = [one.at for one in sink.received]
        assert second - first >= 0.18
        assert third - second >= 0.36
        letters = [letter async for letter in DeadLetters(redis).of("bot")]
        assert (letters[0].tries, letters[0].status, letters[0].detail) == (3, 500, "no")
        assert letters[0].reason == "failed: no attempt left of 3"

        works = True
        await DeadLetters(redis).replay("bot", [letters[0].record.entry], 1)
        await eventually(lambda: len(sink.received) == 4)
        assert sink.received[3].headers["relay-attempt"] == "1"
        assert sink.received[3].headers["relay-topic"] == "messages"

        async def settled() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 1

        await eventually(settled)
    assert (await ledger_of(redis, "bot")).balances


async def test_every_attempt_is_remembered_with_what_followed(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["10ms"]'))
    rules.reload()

    async def answer(received: Received) -> web.Response:
        return web.Response(status=200 if received.headers["relay-attempt"] == "2" else 500, text="busy")

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1", chat="chat-1", line="+16465550123")

        async def settled() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 1

        await eventually(settled)
    second, first = [one async for one in attempts_of(redis, "bot", EventFilter(chat="chat-1"))]
    assert (first.attempt.number, first.attempt.outcome, first.attempt.status) == (1, Outcome.FAILED, 500)
    assert (first.detail, first.counted, first.attempt.is_probe) == ("busy", True, False)
    assert first.attempt.due_ms is not None
    assert first.attempt.due_ms <= second.attempt.at_ms
    assert (second.attempt.number, second.attempt.outcome, second.detail) == (2, Outcome.DELIVERED, "")
    assert [one.headers["relay-attempt"] for one in sink.received] == ["1", "2"]


@pytest.mark.parametrize("status", [400, 404, 302])
async def test_what_a_subscriber_does_not_want_is_dead_at_once(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink, status: int
) -> None:
    async def answer(_: Received) -> web.Response:
        return web.Response(status=status, headers={"Location": "/"})

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")

        async def dead() -> bool:
            return (await ledger_of(redis, "bot")).dead == 1

        await eventually(dead)
    assert len(sink.received) == 1


async def test_a_subscriber_that_hangs_holds_up_nobody_else(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.delivery.partition_worker, "GRACE", 0.1)

    held = asyncio.Event()

    async def answer(received: Received) -> web.Response:
        if received.path == "/bot":
            await held.wait()
        return web.Response()

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], *map(str, range(80)))
        await eventually(lambda: len(sink.ids("/bot")) == 50)
        await feed(redis, lanes["crm"], *map(str, range(100)))
        await eventually(lambda: len(sink.ids("/crm")) == 100)
    assert len(sink.ids("/bot")) == 50
    held.set()


async def test_what_a_killed_worker_had_in_hand_is_delivered_by_the_next(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    await feed(redis, lanes["bot"], "read", "unread")
    await lanes["bot"].read_new(1)
    async with delivering(redis, rules):
        await eventually(lambda: sorted(sink.ids("/bot")) == ["read", "unread"])


async def test_a_retry_that_was_waiting_when_its_worker_ended_is_made_by_the_next(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["300ms"]'))
    rules.reload()

    async def answer(received: Received) -> web.Response:
        return web.Response(status=500 if received.headers["relay-attempt"] == "1" else 200)

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")
        await eventually(lanes["bot"].next_due)
    assert len(sink.received) == 1
    async with delivering(redis, rules):
        await eventually(lambda: len(sink.received) == 2)
    assert sink.received[1].headers["relay-attempt"] == "2"


async def test_stopping_finishes_what_is_in_flight_and_hands_back_the_rest(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, bot="concurrency = 5"))
    rules.reload()
    held = asyncio.Event()

    async def answer(_: Received) -> web.Response:
        await held.wait()
        return web.Response()

    sink.answer = answer
    await feed(redis, lanes["bot"], *map(str, range(20)))
    async with delivering(redis, rules) as stop:
        await eventually(lambda: len(sink.received) == 5)
        stop.set()
        held.set()
    row = await ledger_of(redis, "bot")
    assert (row.delivered, row.waiting, len(sink.received)) == (5, 15, 5)
    async with delivering(redis, rules):
        await eventually(lambda: len(sink.received) == 20)
    assert len(set(sink.ids())) == 20


async def test_an_entry_that_was_trimmed_is_a_dead_letter_and_not_a_hole(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    await feed(redis, lanes["bot"], "e1")
    await lanes["bot"].read_new(1)
    await redis.xtrim(lanes["bot"].topic_stream, maxlen=0, approximate=False)
    async with delivering(redis, rules):

        async def dead() -> bool:
            return (await ledger_of(redis, "bot")).dead == 1

        await eventually(dead)
    [letter] = [letter async for letter in DeadLetters(redis).of("bot")]
    assert letter.reason == "lost: the entry was deleted from its stream"
    assert sink.received == []


async def test_a_subscription_that_is_added_changed_or_removed_is_followed(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    partitions = ("bot", "crm", "late")
    async with delivering(redis, rules, *partitions):
        await feed(redis, lanes["bot"], "e1")
        await eventually(lambda: sink.ids("/bot") == ["e1"])

        rules_file.write_text(rules_for(sink).replace("/bot", "/moved").replace('name = "crm"', 'name = "late"'))
        rules.reload()
        late = Lane(redis, "late", "everything")
        await late.ensure()
        await feed(redis, late, "e2")
        await eventually(lambda: sink.ids("/crm") == ["e2"])
        await feed(redis, lanes["bot"], "e3")
        await eventually(lambda: sink.ids("/moved") == ["e3"])
        await feed(redis, lanes["crm"], "e4")
        await asyncio.sleep(0.2)
    assert sink.ids("/crm") == ["e2"]
    assert (await ledger_of(redis, "crm")).waiting == 2  # it has left relay.toml; what it is owed is kept


async def test_a_lane_whose_group_was_destroyed_goes_on_without_a_gap(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")
        await eventually(lambda: sink.ids("/bot") == ["e1"])
        await redis.xgroup_destroy(lanes["bot"].topic_stream, lanes["bot"].group)
        await feed(redis, lanes["bot"], "e2")
        await eventually(lambda: "e2" in sink.ids("/bot"))


async def test_connections_that_break_cost_no_delivery(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    events = [str(number) for number in range(200)]
    async with delivering(redis, rules):
        for start in range(0, 200, 20):
            await feed(redis, lanes["bot"], *events[start : start + 20])
            await redis.client_kill_filter(_type="normal", skipme=True)

        async def settled() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 200

        await eventually(settled)
    assert set(sink.ids("/bot")) == set(events)


async def test_a_full_redis_accepts_nothing_more_and_what_it_has_is_delivered(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    events = [f"e{number}" for number in range(120)]
    fails = set(events[:3])

    async def answer(received: Received) -> web.Response:
        event_id = received.headers["webhook-id"]
        is_first = event_id in fails
        fails.discard(event_id)
        return web.Response(status=500 if is_first else 200)

    sink.answer = answer
    await feed(redis, lanes["bot"], *events)
    await redis.config_set("maxmemory", 1)
    try:
        async with delivering(redis, rules, "bot"):

            async def delivered() -> bool:
                return (await ledger_of(redis, "bot")).delivered == len(events)

            await eventually(delivered)
        with pytest.raises(StoreUnavailable):
            await accept(redis, arrival_of())
    finally:
        await redis.config_set("maxmemory", 0)
    assert sorted(sink.ids()) == sorted([*events, *events[:3]])
    assert (await ledger_of(redis, "bot")).balances
