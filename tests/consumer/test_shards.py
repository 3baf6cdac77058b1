"""A topic on four shards is read as one."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis as BlockingRedis

from relay.consumer import ConsumerError, consume, consume_sync
from relay.store.fixed_keys import shard_prefix
from relay.store.keys import Keyspace
from relay.store.rights.rules import team_rule
from relay.store.sharding.places import entry_name, entry_of
from tests.consumer.stage import (
    KINDS,
    SHARDS,
    STREAMS,
    Reader,
    feed,
    feed_shard,
    feed_shards,
    none_pending_on_shards,
    pending_by_shard,
    run_member,
    take,
)
from tests.support import eventually

if TYPE_CHECKING:
    from relay.consumer import Event
    from relay.store.driver.client import Redis

IDS = tuple(map(str, range(40)))


@pytest.mark.parametrize("kind", KINDS)
async def test_every_shard_is_read_in_order_and_acknowledged(redis: Redis, redis_url: str, kind: str) -> None:
    await feed_shards(redis, *IDS)
    taken = [event.id for event in await take(kind, redis_url, len(IDS))]
    assert sorted(taken, key=int) == list(IDS)
    for shard in range(SHARDS):
        assert [each for each in taken if int(each) % SHARDS == shard] == list(IDS[shard::SHARDS])
    assert await none_pending_on_shards(redis)
    for stream in STREAMS:
        assert await redis.xinfo_consumers(stream, "g") == []


@pytest.mark.parametrize("kind", KINDS)
async def test_no_shard_waits_for_the_end_of_another(redis: Redis, redis_url: str, kind: str) -> None:
    await feed_shards(redis, "0", "1", "2", "3")
    await feed_shard(redis, 1, *(f"more-{number}" for number in range(500)))
    taken = [event.id for event in await take(kind, redis_url, 150)]
    assert {"0", "1", "2", "3"} <= set(taken)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefetch", [1, 3, 6])
async def test_prefetch_is_for_all_shards_together(redis: Redis, redis_url: str, kind: str, prefetch: int) -> None:
    await feed_shards(redis, *IDS)
    most = 0
    with BlockingRedis.from_url(redis_url) as client:

        def look(seen: list[str], event: Event) -> bool:
            nonlocal most
            seen.append(event.id)
            ahead = sum(client.xpending(stream, "g")["pending"] for stream in STREAMS)
            most = max(most, ahead - len(seen))
            return len(seen) == len(IDS)

        options: dict[str, Any] = {"topic": "support", "group": "g", "prefetch": prefetch, "acknowledge": "explicit"}
        seen: list[str] = []
        if kind == "async":
            async with asyncio.timeout(20), consume(redis_url, **options) as events:
                async for event in events:
                    if look(seen, event):
                        break
        else:
            await asyncio.to_thread(_read_blocking, redis_url, options, lambda event: look(seen, event))
    assert sorted(seen, key=int) == list(IDS)
    assert most <= prefetch


def _read_blocking(url: str, options: dict[str, Any], is_last: Any) -> None:
    with consume_sync(url, **options) as events:
        for event in events:
            if is_last(event):
                break


async def test_ids_name_the_shard_and_calls_reach_it(redis: Redis, redis_url: str) -> None:
    await feed_shards(redis, *IDS[:8])
    options: dict[str, Any] = {"topic": "support", "group": "g", "acknowledge": "explicit"}
    async with consume(redis_url, member="m", **options) as events:
        got = {event.id: event for event in [await anext(events) for _ in range(8)]}
        for event_id, event in got.items():
            assert event.shard == int(event_id) % SHARDS
            assert event.entry == entry_name(event.stream_id, event.shard)
            assert entry_of(event.entry) == (event.stream_id, event.shard)
            [(entry, _)] = await redis.xrange(STREAMS[event.shard], event.stream_id, event.stream_id)
            assert entry.decode() == event.stream_id
        await events.ack(got["0"], got["1"], got["2"])
        assert await pending_by_shard(redis) == [1, 1, 1, 2]
        assert await events.reject(got["3"], "no such customer")
        assert not await events.reject(got["3"], "again")
        [(_, letter)] = await redis.xrange("relay/3:dead:support:g")
        assert (letter[b"id"], letter[b"dead_entry"].decode()) == (b"3", got["3"].stream_id)
        assert events.dead == 1
        await events.release(got["5"], got["6"])
        assert {(taken.id, taken.deliveries) for taken in await take("async", redis_url, 2, member="other")} == {
            ("5", 2),
            ("6", 2),
        }
        await events.ack(got["4"], got["7"])
    assert await none_pending_on_shards(redis)


@pytest.mark.parametrize("kind", KINDS)
async def test_order_holds_in_each_chat(redis: Redis, redis_url: str, kind: str) -> None:
    for number in range(48):
        await feed_shard(redis, number % SHARDS, str(number), chat=f"chat-{number % 8}")
    seen: list[int] = []
    at_work: set[str | None] = set()
    most = 0
    lock, change = threading.Lock(), threading.Event()

    def begin(event: Event) -> None:
        nonlocal most
        with lock:
            assert event.chat not in at_work
            at_work.add(event.chat)
            most = max(most, len(at_work))

    def end(event: Event) -> bool:
        with lock:
            at_work.discard(event.chat)
            seen.append(int(event.id))
            return len(seen) == 48

    async with asyncio.timeout(20):
        if kind == "async":
            async with consume(redis_url, topic="support", group="g") as events:

                async def handle(event: Event) -> None:
                    begin(event)
                    await asyncio.sleep(0.005)
                    if end(event):
                        events.stop()

                await events.run(handle, concurrency=5)
        else:
            with consume_sync(redis_url, topic="support", group="g") as blocking:

                def handle_blocking(event: Event) -> None:
                    begin(event)
                    change.wait(0.005)
                    if end(event):
                        blocking.stop()

                await asyncio.to_thread(blocking.run, handle_blocking, concurrency=5)
    assert 1 < most <= 5
    for chat in range(8):
        assert [number for number in seen if number % 8 == chat] == list(range(chat, 48, 8))
    assert await none_pending_on_shards(redis)


@pytest.mark.parametrize("kind", KINDS)
async def test_batches_are_of_all_shards_and_acknowledged_by_the_next(redis: Redis, redis_url: str, kind: str) -> None:
    await feed_shards(redis, *IDS[:25])
    seen: list[str] = []

    def note(batch: list[Event]) -> bool:
        assert len(batch) <= 10
        seen.extend(event.id for event in batch)
        return len(seen) == 25

    async with asyncio.timeout(20):
        if kind == "async":
            async with consume(redis_url, topic="support", group="g") as events:
                async for batch in events.batches(10, wait=0.1):
                    if note(batch):
                        break
        else:
            await asyncio.to_thread(_batches_blocking, redis_url, note)
    assert sorted(seen, key=int) == list(IDS[:25])
    assert await none_pending_on_shards(redis)


async def test_batch_is_full_at_once_if_one_shard_has_all_events(redis: Redis, redis_url: str) -> None:
    await feed_shard(redis, 2, *IDS)
    began, sizes = time.monotonic(), list[int]()
    async with consume(redis_url, topic="support", group="g") as events:
        async for batch in events.batches(10, wait=5):
            sizes.append(len(batch))
            if len(sizes) == 4:
                break
    assert sizes == [10, 10, 10, 10]
    assert time.monotonic() - began < 5


def _batches_blocking(url: str, note: Any) -> None:
    with consume_sync(url, topic="support", group="g") as blocking:
        for batch in blocking.batches(10, wait=0.1):
            if note(batch):
                break


@pytest.mark.parametrize("kind", KINDS)
async def test_next_member_gets_what_was_handed_back_on_every_shard(redis: Redis, redis_url: str, kind: str) -> None:
    await feed_shards(redis, *IDS)
    first = await take(kind, redis_url, 5)
    second = await take(kind, redis_url, len(IDS) - 5, member="second")
    assert sorted((event.id for event in [*first, *second]), key=int) == list(IDS)
    assert {event.deliveries for event in second} == {1}
    assert await none_pending_on_shards(redis)


@pytest.mark.parametrize("kind", KINDS)
async def test_events_of_a_dead_member_are_claimed_on_every_shard(redis: Redis, redis_url: str, kind: str) -> None:
    await feed_shards(redis, *IDS[:12])
    for stream in STREAMS:
        await redis.xgroup_create(stream, "g", "0")
        await redis.xreadgroup("g", "dead", {stream: ">"})
    await asyncio.sleep(0.1)
    taken = await take(kind, redis_url, 12, claim_after=0.05)
    assert {(event.id, event.deliveries) for event in taken} == {(each, 2) for each in IDS[:12]}


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_handler_keeps_no_event_of_other_shards(redis: Redis, redis_url: str, kind: str) -> None:
    await feed_shards(redis, *IDS[:12])
    begun, release = list[str](), threading.Event()
    consumer: Any = None

    async def read() -> None:
        nonlocal consumer
        async with consume(redis_url, topic="support", group="g", member="slow") as consumer:
            async for event in consumer:
                begun.append(event.id)
                if len(begun) == 3:
                    await asyncio.to_thread(release.wait, 10)

    def read_blocking() -> None:
        nonlocal consumer
        with consume_sync(redis_url, topic="support", group="g", member="slow") as consumer:
            for event in consumer:
                begun.append(event.id)
                if len(begun) == 3:
                    release.wait(10)

    reading = asyncio.create_task(read() if kind == "async" else asyncio.to_thread(read_blocking))
    try:
        await eventually(lambda: len(begun) == 3)
        consumer.stop()
        rest = await take("async", redis_url, 9, member="next")
        assert {each.id for each in rest} == set(IDS[:12]) - set(begun)
        assert {each.deliveries for each in rest} == {1}
    finally:
        release.set()
        await reading
    assert len(begun) == 3
    assert await none_pending_on_shards(redis)


class TestBeginnings:
    """Where a group begins on each shard."""

    async def test_new_group_begins_everywhere_at_its_start(self, redis: Redis, redis_url: str) -> None:
        await feed_shards(redis, *IDS[:8])
        async with asyncio.timeout(20), consume(redis_url, topic="support", group="g", start="$") as events:
            await feed_shards(redis, "new-0", "new-1", "new-2", "new-3")
            assert {(await anext(events)).id for _ in range(4)} == {"new-0", "new-1", "new-2", "new-3"}

    @pytest.mark.parametrize("kind", KINDS)
    async def test_shards_that_are_added_are_read_from_their_beginning(
        self, redis: Redis, redis_url: str, kind: str
    ) -> None:
        await feed(redis, "old")
        reading = asyncio.create_task(take(kind, redis_url, 5, start="0", claim_after=0.3))
        await eventually(lambda: redis.exists("relay:topic:support:places"))
        await feed_shards(redis, "a", "b", "c", "d")
        assert {event.id for event in await reading} == {"old", "a", "b", "c", "d"}
        assert await none_pending_on_shards(redis)

    async def test_batches_notice_new_shards(self, redis: Redis, redis_url: str) -> None:
        seen: set[str] = set()
        await feed(redis, "old")
        async with (
            asyncio.timeout(20),
            consume(redis_url, topic="support", group="g", claim_after=0.3) as events,
        ):
            async for batch in events.batches(10, wait=0.05):
                if not seen:
                    await feed_shards(redis, "a", "b", "c", "d")
                seen |= {event.id for event in batch}
                if len(seen) == 5:
                    break

    async def test_member_that_joins_after_they_were_added_misses_nothing(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "old")
        async with consume(redis_url, topic="support", group="g", start="$"):
            pass
        await feed_shards(redis, "a", "b", "c", "d")
        assert {event.id for event in await take("async", redis_url, 4, start="$")} == {"a", "b", "c", "d"}

    async def test_group_that_is_lost_on_one_shard_continues_there(
        self, redis: Redis, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await feed_shards(redis, *IDS)
        first = await take("async", redis_url, 20)
        await redis.xgroup_destroy(STREAMS[2], "g")
        second = await take("async", redis_url, 20)
        assert sorted((event.id for event in [*first, *second]), key=int) == list(IDS)
        assert "group g of relay/2:topic:support was lost; it is made again at its last known place" in caplog.text

    async def test_start_may_be_an_entry_of_a_shard(self, redis: Redis, redis_url: str) -> None:
        await redis.set("relay:shards", SHARDS)
        for number, stream in enumerate(STREAMS):
            for at in (5, 15):
                await redis.xadd(stream, {"id": f"{number}-{at}", "at": "1"}, id=f"{at}-0")
        taken = await take("async", redis_url, 4, start="5-0.3")
        assert {event.id for event in taken} == {f"{number}-15" for number in range(SHARDS)}


@pytest.mark.background
class TestKills:
    """Members that are killed, or kill themselves."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("die", "when"), [("XREADGROUP", "after"), ("XACK", "before"), ("XCLAIM", "before")])
    async def test_killed_member_loses_no_event(
        self, redis: Redis, redis_url: str, kind: str, die: str, when: str
    ) -> None:
        await feed_shards(redis, *IDS[:12])
        ended = await run_member(redis_url, kind, member="first", die=die, when=when, count=3)
        assert ended.code == -signal.SIGKILL
        second = Reader(kind, redis_url, "loop", claim_after=0.3)
        async with second.reading():
            await eventually(lambda: {*second.seen, *(event.id for event in ended.begun)} == set(IDS[:12]))
            await eventually(lambda: self._has_one(redis))
        assert await none_pending_on_shards(redis)

    async def _has_one(self, redis: Redis) -> bool:
        return sum(await pending_by_shard(redis)) <= 1  # its handler has ended, and the next event will acknowledge it

    @pytest.mark.parametrize("concurrency", [0, 4])
    async def test_poison_wears_out_no_event_of_another_shard(
        self, redis: Redis, redis_url: str, concurrency: int
    ) -> None:
        await feed_shards(redis, *IDS[:12])
        begun: Counter[str] = Counter()
        left = 12
        for _ in range(8):
            ended = await run_member(
                redis_url, member="m", poison="3", max_deliveries=4, count=left - 1, concurrency=concurrency
            )
            begun.update(event.id for event in ended.begun)
            if ended.code == 0:
                break
            groups = [(await redis.xinfo_groups(stream))[0] for stream in STREAMS]
            left = sum(group["lag"] + group["pending"] for group in groups)
        assert ended.code == 0
        [(_, letter)] = await redis.xrange("relay/3:dead:support:g")
        assert (letter[b"id"], letter[b"dead_reason"]) == (b"3", b"max_deliveries")
        assert begun.pop("3") == 4
        assert set(begun) == set(IDS[:12]) - {"3"}
        assert max(begun.values()) <= 3
        assert await none_pending_on_shards(redis)


class TestRights:
    """The rights of a team."""

    async def team(self, redis: Redis, redis_url: str, rule: str) -> str:
        """Make a user with these rights; return its URL."""
        rights, *selectors = rule.split(" (")
        words = ("on", ">secret", *rights.split(), *(f"({selector}" for selector in selectors))
        await redis.execute_command("ACL", "SETUSER", "team", *words)  # type: ignore[no-untyped-call]
        await redis.acl_log_reset()
        return redis_url.replace("://:", "://team:").replace(redis_url.partition("@")[0].rpartition(":")[2], "secret")

    async def test_rule_of_every_shard_suffices(self, redis: Redis, redis_url: str) -> None:
        await feed_shards(redis, *IDS[:8])
        rule = team_rule("support", *(Keyspace(shard_prefix("relay", shard)) for shard in range(SHARDS)))
        url = await self.team(redis, redis_url, str(rule))
        async with consume(url, topic="support", group="g", acknowledge="explicit") as events:
            for _ in range(4):
                assert await events.reject(await anext(events))
        assert len(await take("blocking", url, 4)) == 4
        assert await redis.acl_log() == []
        await redis.acl_deluser("team")

    async def test_missing_rights_on_a_shard_are_an_error(self, redis: Redis, redis_url: str) -> None:
        await feed_shards(redis, *IDS[:8])
        url = await self.team(redis, redis_url, str(team_rule("support", Keyspace())))
        with pytest.raises(ConsumerError, match=r"XGROUP CREATE relay/[1-3]:topic:support; `relay acl`"):
            async with consume(url, topic="support", group="g"):
                pass
        await redis.acl_deluser("team")

    async def test_unknown_number_of_shards_is_told(
        self, redis: Redis, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await feed_shards(redis, *IDS[:8])
        rule = str(team_rule("support", Keyspace())).replace(" %R~relay:shards", "")
        url = await self.team(redis, redis_url, rule)
        assert {event.id for event in await take("async", url, 2)} == {"0", "4"}
        assert caplog.text.count("only the first shard is read, as the number of them is not known") == 1
        await redis.acl_deluser("team")
