from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

import workers.delivery.ordered_source
from relay.config.file import ConfigFile
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.lane import Lane
from tests.support import eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import deliver_and_be_killed, delivering, feed, ledger_of, now_ms
from workers.maintenance.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Ref

    Deletion = Callable[[Redis, Lane], Awaitable[object]]

ORDERED = 'ordered = "chat"\nbreaker = false\n'


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    return lane


@pytest.fixture
async def ordered(rules_file: Path, sink: Sink) -> AsyncIterator[ConfigFile]:
    rules_file.write_text(
        rules_for(sink, retry='["10ms", "20ms", "20ms", "20ms", "20ms", "20ms", "20ms"]', bot=ORDERED)
    )
    async with ConfigFile(rules_file) as rules:
        yield rules


class Watch:
    """A subscriber that records the order of each chat's events, and rejects two at a time of a chat."""

    def __init__(self, sink: Sink, failures: float = 0.0) -> None:
        self.accepted: defaultdict[str, list[int]] = defaultdict(list)
        self.most_at_once = 0
        self._failures = failures
        self._chance = random.Random(7)
        self._in_flight: set[str] = set()
        sink.answer = self.answer

    async def answer(self, received: Received) -> web.Response:
        chat, _, number = received.headers["webhook-id"].partition("/")
        assert chat not in self._in_flight, f"two of {chat} at a time"
        self._in_flight.add(chat)
        self.most_at_once = max(self.most_at_once, len(self._in_flight))
        try:
            await asyncio.sleep(self._chance.random() * 0.004)
        finally:
            self._in_flight.discard(chat)
        if self._chance.random() < self._failures:
            return web.Response(status=503)
        self.accepted[chat].append(int(number))
        return web.Response()

    @property
    def count(self) -> int:
        return sum(len(set(numbers)) for numbers in self.accepted.values())

    def has(self, count: int) -> bool:
        return self.count >= count


async def feed_chats(redis: Redis, lane: Lane, chats: int, each: int) -> None:
    """Feed events of several chats, in turn."""
    for number in range(each):
        for chat in range(chats):
            await feed(redis, lane, f"c{chat}/{number}", chat=f"c{chat}")


async def test_chat_is_delivered_in_order_one_at_a_time_despite_failures(
    redis: Redis, ordered: ConfigFile, lane: Lane, sink: Sink
) -> None:
    watch = Watch(sink, failures=0.2)
    await feed_chats(redis, lane, chats=6, each=12)
    async with delivering(redis, ordered, "bot"):
        await eventually(lambda: watch.count == 72)
    assert all(numbers == list(range(12)) for numbers in watch.accepted.values())
    assert watch.most_at_once > 1
    row = await ledger_of(redis, "bot")
    assert (row.delivered, row.dead, row.waiting, row.retrying, row.balances) == (72, 0, 0, 0, True)


@pytest.mark.parametrize(("max_queued", "max_kept"), [(5, 0), (20_000, 0), (7, 8_000_000)])
async def test_small_order_buffer_changes_no_order(
    redis: Redis,
    ordered: ConfigFile,
    lane: Lane,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    *,
    max_queued: int,
    max_kept: int,
) -> None:
    monkeypatch.setattr(workers.delivery.ordered_source, "_MAX_QUEUED", max_queued)
    monkeypatch.setattr(workers.delivery.ordered_source, "_MAX_KEPT", max_kept)
    watch = Watch(sink, failures=0.1)
    await feed_chats(redis, lane, chats=3, each=20)
    async with delivering(redis, ordered, "bot"):
        await eventually(lambda: watch.count == 60)
    assert all(numbers == list(range(20)) for numbers in watch.accepted.values())


async def test_order_outlives_killed_workers(redis: Redis, ordered: ConfigFile, lane: Lane, sink: Sink) -> None:
    watch = Watch(sink, failures=0.2)
    await feed_chats(redis, lane, chats=5, each=20)
    for goal in (10, 25, 45, 70):
        await deliver_and_be_killed(redis, ordered, "bot", partial(watch.has, goal))
    async with delivering(redis, ordered, "bot"):
        await eventually(lambda: watch.count == 100)
    for numbers in watch.accepted.values():
        assert numbers == sorted(numbers)  # an event that was in flight when a worker died may arrive twice
        assert set(numbers) == set(range(20))
    assert (await ledger_of(redis, "bot")).balances


async def test_chat_that_waits_for_a_retry_delays_no_other_chat(
    redis: Redis, rules_file: Path, lane: Lane, sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["1h"]', bot=ORDERED))

    async def answer(received: Received) -> web.Response:
        return web.Response(status=500 if received.headers["webhook-id"] == "slow/0" else 200)

    sink.answer = answer
    async with ConfigFile(rules_file) as rules, delivering(redis, rules, "bot"):
        await feed(redis, lane, "slow/0", "slow/1", chat="slow")
        await feed(redis, lane, "other/0", "other/1", chat="other")
        await feed(redis, lane, "none/0")
        await eventually(lambda: len(sink.received) == 4)
    assert sorted(sink.ids()) == ["none/0", "other/0", "other/1", "slow/0"]
    # Another worker knows that the chat waits, though no worker has the events after its first one in hand now.
    async with ConfigFile(rules_file) as rules, delivering(redis, rules, "bot"):
        await feed(redis, lane, "slow/2", chat="slow")
        await feed(redis, lane, "other/2", chat="other")
        await eventually(lambda: "other/2" in sink.ids())
    assert len(sink.received) == 5
    row = await ledger_of(redis, "bot")
    assert (row.delivered, row.retrying, row.waiting, row.balances) == (4, 1, 2, True)


async def refuse(received: Received) -> web.Response:
    return web.Response(status=400 if received.headers["webhook-id"] == "c/1" else 200)


async def test_chat_continues_after_a_dead_letter(redis: Redis, ordered: ConfigFile, lane: Lane, sink: Sink) -> None:
    sink.answer = refuse
    async with delivering(redis, ordered, "bot"):
        await feed(redis, lane, "c/0", "c/1", "c/2", chat="c")
        await eventually(lambda: len(sink.received) == 3)
    assert sink.ids() == ["c/0", "c/1", "c/2"]


@pytest.fixture
async def blocking(rules_file: Path, sink: Sink) -> AsyncIterator[ConfigFile]:
    rules_file.write_text(rules_for(sink, bot=ORDERED + "block_on_dead = true\n"))
    async with ConfigFile(rules_file) as rules:
        yield rules


async def test_blocked_chat_waits_for_the_replay_of_its_dead_letter(
    redis: Redis, blocking: ConfigFile, lane: Lane, sink: Sink
) -> None:
    sink.answer = refuse
    async with delivering(redis, blocking, "bot"):
        await feed(redis, lane, "c/0", "c/1", "c/2", "c/3", chat="c")
        await feed(redis, lane, "d/0", chat="d")
        await eventually(lambda: len(sink.received) == 3)
    assert sorted(sink.ids()) == ["c/0", "c/1", "d/0"]
    assert list(await lane.blocked_chats()) == ["c"]
    sink.answer = None
    async with delivering(redis, blocking, "bot"):
        await feed(redis, lane, "d/1", chat="d")
        await eventually(lambda: "d/1" in sink.ids())
        [letter] = [letter async for letter in DeadLetters(redis).of("bot")]
        await DeadLetters(redis).replay("bot", [letter.record.entry], now_ms())
        await eventually(lambda: len(sink.received) == 7)
    assert sink.ids()[3:] == ["d/1", "c/1", "c/2", "c/3"]
    assert await lane.blocked_chats() == {}
    row = await ledger_of(redis, "bot")
    assert (row.delivered, row.dead, row.waiting, row.balances) == (6, 0, 0, True)


async def test_events_that_arrive_while_a_dead_letter_is_written_wait(
    redis: Redis, blocking: ConfigFile, lane: Lane, sink: Sink
) -> None:
    chats = [f"c{number}" for number in range(30)]

    async def answer(received: Received) -> web.Response:
        chat, _, number = received.headers["webhook-id"].partition("/")
        if number == "0":
            await feed(redis, lane, f"{chat}/1", chat=chat)
        return web.Response(status=400)

    sink.answer = answer
    async with delivering(redis, blocking, "bot"):
        for chat in chats:
            await feed(redis, lane, f"{chat}/0", chat=chat)

        async def are_blocked() -> bool:
            return len(await lane.blocked_chats()) == len(chats)

        await eventually(are_blocked)
        await feed(redis, lane, "last/9")
        await eventually(lambda: "last/9" in sink.ids())
    assert sorted(sink.ids()) == sorted([*(f"{chat}/0" for chat in chats), "last/9"])


async def test_chat_that_is_blocked_while_all_are_read_stays_blocked(
    redis: Redis, blocking: ConfigFile, lane: Lane, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, answered, released = Lane.blocked_chats, asyncio.Event(), asyncio.Event()
    older: list[set[str]] = []

    async def held(self: Lane) -> dict[str, Ref]:
        found = await read(self)
        if found and not released.is_set():
            older.append(set(found))
            await released.wait()
        return found

    async def answer(received: Received) -> web.Response:
        if received.headers["webhook-id"] == "c/0":
            await answered.wait()
        return web.Response(status=400)

    async def are_dead() -> bool:
        return (await ledger_of(redis, "bot")).dead == 2

    sink.answer = answer
    monkeypatch.setattr(Lane, "blocked_chats", held)
    async with delivering(redis, blocking, "bot"):
        await feed(redis, lane, "c/0", chat="c")
        await feed(redis, lane, "x/0", chat="x")
        await eventually(lambda: older == [{"x"}])
        answered.set()
        await eventually(are_dead)
        await feed(redis, lane, "c/1", chat="c")
        await feed(redis, lane, "last/0")
        released.set()
        await eventually(lambda: "last/0" in sink.ids())
    assert sorted(sink.ids()) == ["c/0", "last/0", "x/0"]


async def test_dropping_a_dead_letter_unblocks_its_chat(
    redis: Redis, blocking: ConfigFile, lane: Lane, sink: Sink
) -> None:
    sink.answer = refuse
    async with delivering(redis, blocking, "bot"):
        await feed(redis, lane, "c/1", "c/2", chat="c")
        letters = DeadLetters(redis)

        async def dead_letters() -> list[str]:
            return [letter.record.entry async for letter in letters.of("bot")]

        entries = await eventually(dead_letters)
        assert await letters.drop("bot", entries, now_ms()) == 1
        await eventually(lambda: sink.ids() == ["c/1", "c/2"])
    assert await lane.blocked_chats() == {}


@pytest.mark.parametrize(
    "delete",
    [
        pytest.param(
            lambda redis, lane: redis.xgroup_delconsumer(lane.topic_stream, lane.group, "relay"), id="consumer"
        ),
        pytest.param(lambda redis, lane: redis.xgroup_destroy(lane.topic_stream, lane.group), id="group"),
    ],
)
async def test_order_of_a_chat_outlives_a_deletion(
    redis: Redis, ordered: ConfigFile, lane: Lane, sink: Sink, delete: Deletion
) -> None:
    watch, sweeper = Watch(sink, failures=0.2), Sweeper(redis, ordered, time.time)
    await feed_chats(redis, lane, chats=3, each=20)
    await deliver_and_be_killed(redis, ordered, "bot", partial(watch.has, 10))
    for goal in (30, 60):
        async with delivering(redis, ordered, "bot"):
            await delete(redis, lane)
            await sweeper.sweep()
            await eventually(partial(watch.has, goal))
    for numbers in watch.accepted.values():
        assert list(dict.fromkeys(numbers)) == list(range(20))  # what is repeated comes before anything new
