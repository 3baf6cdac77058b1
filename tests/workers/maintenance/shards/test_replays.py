"""A replay of a topic that is on four shards: one for people, complete although processes die at any step."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.event_filter import EventFilter
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.driver.scripts import Script
from relay.store.sharding.shards import Shards, open_shards
from relay.store.topics.history import History
from relay.store.topics.replays import Order, Replays, State
from relay.store.topics.whole.replays import WholeReplays
from tests.support import eventually
from tests.workers.conftest import rules_for
from tests.workers.delivering import delivering, now_ms
from tests.workers.maintenance.replaying import FAST, TIMINGS, add, replaying, sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.topics.history import Survey
    from relay.store.topics.replays import Replay
    from tests.workers.conftest import Sink

COUNTS = (4, 9, 0, 7)
"""The number of events on each shard."""
IDS = [[f"e{shard}-{n:02}" for n in range(count)] for shard, count in enumerate(COUNTS)]


class Killed(BaseException):
    """The end of a process."""


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture(autouse=True)
async def _history(shards: Shards) -> None:
    """Fill a topic that bot does not read."""
    for shard, ids in zip(shards.all, IDS, strict=True):
        for n, event_id in enumerate(ids):
            await add(shard, event_id, "message.received" if n % 2 else "reaction.added")


async def surveyed(shards: Shards, which: EventFilter) -> list[Survey]:
    histories = [History(shard, "everything") for shard in shards.all]
    return [await history.survey(await history.span(None, None), which) for history in histories]


async def start(shards: Shards, rate: float = FAST, kind: str | None = None, to: str = "bot") -> Replay:
    which = EventFilter(kind)
    order = Order("everything", to, which, rate, "ann@host")
    return await WholeReplays(shards.home).start(order, await surveyed(shards, which), now_ms())


async def state_of(shards: Shards, replay_id: str) -> Replay:
    found = await WholeReplays(shards.home).get(replay_id)
    assert found is not None
    return found


async def ended(shards: Shards, replay_id: str) -> Replay | None:
    found = await state_of(shards, replay_id)
    return None if found.state is State.RUNNING else found


@asynccontextmanager
async def replaying_on(
    shards: Shards, rules: ConfigFile, *numbers: int, timings: Any = TIMINGS, **sizes: Any
) -> AsyncIterator[None]:
    """Run the replay jobs of shards, all of them unless some are named."""
    async with AsyncExitStack() as stack:
        for number in numbers or range(4):
            home = shards.home if number else None
            await stack.enter_async_context(replaying(shards.all[number], rules, timings, home=home, **sizes))
        yield


async def all_sent(shards: Shards) -> list[list[str]]:
    return [await sent(shard) for shard in shards.all]


async def running_on(shards: Shards) -> list[int]:
    return [n for n, shard in enumerate(shards.all) if await shard.scard(shard.key.replays_running)]  # type: ignore[misc]


async def ended_on_all(shards: Shards) -> bool:
    return not await running_on(shards)


async def test_replay_sends_the_history_of_all_shards_and_is_one(shards: Shards, rules: ConfigFile, sink: Sink) -> None:
    replay = await start(shards)
    assert (replay.events, replay.matching, replay.sent) == (20, 20, 0)
    assert await running_on(shards) == [0, 1, 3]
    with capture_logs() as logs:
        async with delivering(shards.home, rules, others=shards.all[1:]), replaying_on(shards, rules):
            found = await eventually(lambda: ended(shards, replay.id))
            await eventually(lambda: len(sink.ids("/bot")) == 20)
    assert (found.state, found.seen, found.sent, found.missed, found.is_complete) == (State.DONE, 20, 20, 0, True)
    assert sorted(sink.ids("/bot")) == sorted(chain(*IDS))
    assert await ended_on_all(shards)
    assert await WholeReplays(shards.home).all() == [found]
    [line] = [line for line in logs if line["event"] == "replay.ended"]
    assert (line["log_level"], line["replay"], line["sent"], line["state"]) == ("info", replay.id, 20, "done")
    for shard in (shards.all[0], shards.all[1], shards.all[3]):
        assert 7 * 86400 - 60 < await shard.ttl(shard.key.replay(replay.id)) <= 7 * 86400


async def test_progress_is_the_sum_of_the_parts(shards: Shards, rules: ConfigFile) -> None:
    replay = await start(shards)
    async with replaying_on(shards, rules, 1):
        await eventually(lambda: _has_sent(shards, replay.id, 9))
    found = await state_of(shards, replay.id)
    assert (found.state, found.seen, found.sent, found.events, found.is_complete) == (State.RUNNING, 9, 9, 20, False)
    assert found.cursor == "0-0"
    async with replaying_on(shards, rules, 0, 1):
        await eventually(lambda: _has_sent(shards, replay.id, 13))
        assert (await state_of(shards, replay.id)).state is State.RUNNING
    assert (await state_of(shards, replay.id)).cursor == "0-0.3"


async def _has_sent(shards: Shards, replay_id: str, count: int) -> bool:
    return (await state_of(shards, replay_id)).sent >= count


async def test_parts_share_the_rate_by_their_matching_events(shards: Shards) -> None:
    replay = await start(shards, rate=20.0)
    records = [await Replays(shard).get(replay.id) for shard in shards.all]
    assert [record and record.rate for record in records] == [4.0, 9.0, None, 7.0]
    assert (await state_of(shards, replay.id)).order.rate == 20.0


async def test_only_matching_events_are_sent(shards: Shards, rules: ConfigFile) -> None:
    replay = await start(shards, kind="message.*")
    async with replaying_on(shards, rules, page=3):
        found = await eventually(lambda: ended(shards, replay.id))
    assert (found.matching, found.sent, found.seen, found.missed) == (9, 9, 20, 0)
    assert await all_sent(shards) == [ids[1::2] for ids in IDS]


async def test_replay_without_events_on_the_first_shard(shards: Shards, rules: ConfigFile) -> None:
    await shards.home.delete(shards.home.key.topic("everything"))
    replay = await start(shards)
    async with replaying_on(shards, rules):
        found = await eventually(lambda: ended(shards, replay.id))
    assert (found.state, found.sent, found.is_complete) == (State.DONE, 16, True)


@pytest.mark.parametrize("calls", range(5))
async def test_killed_start_is_finished_by_the_replayer_or_was_none(
    shards: Shards, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """The process dies after so many scripts of the start: the parts of two shards have a start and a note each."""
    run, done = Script.__call__, 0

    async def dying(script: Script, *arguments: Any) -> Any:
        nonlocal done
        if script.name in {"start_part", "note_part"}:
            if done == calls:
                raise Killed
            done += 1
        return await run(script, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Script, "__call__", dying)
        if calls < 4:
            with pytest.raises(Killed):
                await start(shards)
        else:
            await start(shards)
    [replay] = await WholeReplays(shards.home).all()
    assert (replay.state, replay.events, replay.sent) == (State.RUNNING, 20, 0)
    async with replaying_on(shards, rules):
        found = await eventually(lambda: ended(shards, replay.id))
    assert (found.state, found.sent) == (State.DONE, 20)
    assert await all_sent(shards) == IDS


async def test_workers_that_are_killed_send_each_event_once(shards: Shards, rules: ConfigFile) -> None:
    replay, rng, kills = await start(shards), random.Random(1), 0
    while await ended(shards, replay.id) is None:
        async with AsyncExitStack() as stack:
            for number, shard in enumerate(shards.all):
                home = shards.home if number else None
                task = await stack.enter_async_context(replaying(shard, rules, TIMINGS, home=home, page=2))
                stack.callback(task.cancel)
            for _ in range(rng.randrange(4 + kills)):  # lives get longer: each part needs one in which it gets on
                await shards.home.ping()
        kills += 1
    assert kills > 3
    found = await state_of(shards, replay.id)
    assert (found.state, found.sent) == (State.DONE, 20)
    assert await all_sent(shards) == IDS


async def test_cancelled_replay_sends_nothing_more_on_any_shard(shards: Shards, rules: ConfigFile) -> None:
    whole, replay = WholeReplays(shards.home), await start(shards, rate=4)
    async with replaying_on(shards, rules):
        await eventually(lambda: _has_sent(shards, replay.id, 3))
        assert await whole.end(replay.id, State.CANCELLED, "by ann", now_ms())
        found = await state_of(shards, replay.id)
        await eventually(lambda: ended_on_all(shards))
        assert (await state_of(shards, replay.id)).sent == found.sent < 20
    assert (found.state, found.reason, found.matching) == (State.CANCELLED, "by ann", 20)
    assert not await whole.end(replay.id, State.CANCELLED, "again", now_ms())


async def test_killed_cancel_ends_the_parts_of_other_shards(shards: Shards, rules: ConfigFile) -> None:
    replay = await start(shards)
    assert await Replays(shards.home).end(replay.id, State.CANCELLED, "by ann", now_ms())  # and dies
    async with replaying_on(shards, rules):
        await eventually(lambda: ended_on_all(shards))
    assert await all_sent(shards) == [[], [], [], []]
    part = await Replays(shards.all[3]).get(replay.id)
    assert part and (part.state, part.reason) == (State.CANCELLED, "by ann")  # noqa: PT018


async def test_replay_fails_on_all_shards_when_its_subscription_is_removed(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    replay = await start(shards, rate=5)
    with capture_logs() as logs:
        async with replaying_on(shards, rules):
            rules_file.write_text(rules_for(sink).replace('name = "bot"', 'name = "successor"'))
            rules.reload()
            found = await eventually(lambda: ended(shards, replay.id))
            await eventually(lambda: ended_on_all(shards))
    assert (found.state, found.reason) == (State.FAILED, 'subscription "bot" is not in relay.toml any more')
    assert [line["log_level"] for line in logs if line["event"] == "replay.ended"] == ["error"]


async def test_bug_in_one_part_fails_the_replay_after_the_others(
    shards: Shards, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = await start(shards)
    read = History.read

    async def breaks(history: History, *arguments: Any) -> Any:
        rows: Any = await read(history, *arguments)
        if any(fields[b"id"] == b"e3-00" for _, fields in rows):
            raise ZeroDivisionError
        return rows

    monkeypatch.setattr(History, "read", breaks)
    async with replaying_on(shards, rules):
        found = await eventually(lambda: ended(shards, replay.id))
    assert (found.state, found.sent) == (State.FAILED, 13)
    assert "ZeroDivisionError" in found.reason


async def test_part_whose_record_was_deleted_fails_the_replay(shards: Shards, rules: ConfigFile) -> None:
    replay = await start(shards)
    await shards.all[1].delete(shards.all[1].key.replay(replay.id))
    async with replaying_on(shards, rules):
        found = await eventually(lambda: ended(shards, replay.id))
    assert (found.state, found.sent, found.reason) == (State.FAILED, 11, "its record on shard 1 was deleted")


async def test_trimmed_events_of_all_shards_are_missed(shards: Shards, rules: ConfigFile) -> None:
    replay = await start(shards)
    for shard in (shards.all[1], shards.all[3]):
        await shard.xtrim(shard.key.topic("everything"), maxlen=1, approximate=False)
    async with replaying_on(shards, rules):
        found = await eventually(lambda: ended(shards, replay.id))
    assert (found.state, found.missed, found.sent) == (State.DONE, 14, 6)
    assert found.reason == "14 events were trimmed from the topic before they were replayed"


async def test_shard_that_is_away_delays_its_own_part(
    shards: Shards, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Script.__call__

    async def away(script: Script, redis: Redis, *arguments: Any) -> Any:
        if redis is shards.all[1]:
            raise ConnectionError("away")
        return await run(script, redis, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Script, "__call__", away)
        replay = await start(shards)
        async with replaying_on(shards, rules, 0, 2, 3):
            await eventually(lambda: _has_sent(shards, replay.id, 11))
            assert (await state_of(shards, replay.id)).state is State.RUNNING
    async with replaying_on(shards, rules):
        found = await eventually(lambda: ended(shards, replay.id))
    assert (found.state, found.sent) == (State.DONE, 20)
