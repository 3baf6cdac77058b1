"""What the table of deploy/docs/pull.md promises, but for kills and outages."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis as blocking_redis
from redis.asyncio import Redis as AnyRedis
from redis.exceptions import NoPermissionError

from relay.consumer import ConsumerError, consume, consume_sync
from relay.consumer.clients.urls import parse_sentinel
from relay.consumer.event import Event
from relay.consumer.names import keys_of
from relay.core.event import Freshness
from relay.core.redis_url.sentinel import parse_sentinel_url
from relay.store.keys import Keyspace
from relay.store.rights.rules import team_rule
from relay.store.topics.record import record_of
from tests.consumer.stage import DEAD, KINDS, PLACES, STREAM, dead_letters, feed, none_pending, pending, take
from tests.support import TIMEOUT, eventually

if TYPE_CHECKING:
    from relay.consumer import Consumer
    from relay.store.driver.client import Redis

OPTIONS = {"topic": "support", "group": "g"}


def test_events_have_the_fields_of_records() -> None:
    full = {"id": "e", "type": "t", "line": "+1", "chat": "c", "at": "7", "version": "v2", "message": "m"}
    full |= {"direction": "inbound", "service": "SMS", "group": "1", "created": "2026", "trace": "r", "webhook_id": "w"}
    for fields in (
        full | {"freshness": "history", "body": '{"a": 1}'},
        {"id": "e", "line": "", "at": "1", "group": "0"},
    ):
        raw = {name.encode(): value.encode() for name, value in fields.items()}
        event, record = Event("1-1", [part for pair in raw.items() for part in pair]), record_of(b"1-1", raw)
        for name in record._fields:
            assert getattr(event, name) == getattr(record, name), name
        assert {member.value for member in Freshness} == {"live", "history"}
    assert event.deliveries == 1


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one,two:26380/main/3",
        "redis+sentinel://u%40:p%2F@[::1]:1/main?sentinel_username=a&sentinel_password=b",
        "rediss+sentinel://one/main?ssl_ca_certs=/ca&ssl_cert_reqs=none",
        "rediss+sentinel://one/main?ssl_check_hostname=false",
        "redis+sentinel://one:x/main",
        "redis+sentinel://one",
        "redis+sentinel://one/main?unknown=1",
    ],
)
def test_sentinel_urls_are_those_of_the_relay(url: str) -> None:
    try:
        expected = parse_sentinel_url(url)
    except ValueError:
        with pytest.raises(ValueError, match="Sentinel"):
            parse_sentinel(url)
        return
    found = parse_sentinel(url)
    assert (tuple(found.sentinels), found.service) == (expected.sentinels, expected.service)
    assert (found.options["username"], found.options["password"]) == (expected.username, expected.password)
    assert found.options["db"] == expected.db
    sentinel = found.sentinel_options
    assert (sentinel["username"], sentinel["password"]) == (expected.sentinel_username, expected.sentinel_password)
    assert sentinel.get("ssl", False) == expected.has_tls
    assert sentinel.items() >= dict(expected.tls).items()


@pytest.mark.parametrize(
    "option",
    [{"start": "yesterday"}, {"acknowledge": "later"}, {"claim_after": 0}, {"max_deliveries": -1}, {"prefetch": 0}],
)
def test_options_that_cannot_be_used_are_named(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        consume("redis://localhost", **OPTIONS | option)  # type: ignore[arg-type]


async def test_client_of_the_other_kind_is_an_error(redis: Redis) -> None:
    with pytest.raises(TypeError, match="consume_sync"):
        consume(blocking_redis.Redis(), **OPTIONS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="use consume"):
        consume_sync(redis, **OPTIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3}])
async def test_client_of_the_caller_stays_open(
    redis: Redis, redis_url: str, kind: str, options: dict[str, Any]
) -> None:
    await feed(redis, "a", "b", "c")
    await redis.xgroup_create(STREAM, "g", "0")
    await redis.xreadgroup("g", "dead", {STREAM: ">"}, count=1)
    await redis.xclaim(STREAM, "g", "dead", 0, [(await redis.xrange(STREAM))[0][0]], idle=100_000)
    if kind == "blocking":
        with blocking_redis.Redis.from_url(redis_url, **options) as client:
            taken = await take(kind, client, 3)
            assert client.ping()
    else:
        async with AnyRedis.from_url(redis_url, **options) as other:
            taken = await take(kind, other, 3)
            assert await other.ping()
    assert taken == [("a", 3), ("b", 1), ("c", 1)]
    assert await none_pending(redis)


class TestExplicit:
    """`acknowledge="explicit"`."""

    def joined(self, url: str, member: str = "m") -> Consumer:
        return consume(url, topic="support", group="g", member=member, acknowledge="explicit")

    async def test_only_ack_acknowledges(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a", "b", "c")
        async with self.joined(redis_url) as events:
            first, second, _ = [await anext(events) for _ in range(3)]
            await events.ack(second, first)
            assert await pending(redis) == 1
        assert await take("async", redis_url, 1) == [("c", 2)]

    async def test_rejected_event_is_a_dead_letter_at_once(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a", chat="c")
        async with self.joined(redis_url) as events:
            event = await anext(events)
            assert await events.reject(event, "no such customer")
            assert not await events.reject(event, "again")
            assert events.dead == 1
        (letter,) = await dead_letters(redis)
        assert int(letter.pop("dead_at")) > 1e12
        about = {"reason": "rejected", "error": "no such customer", "member": "m", "deliveries": "1"}
        fields = {"id": "a", "type": "x", "chat": "c", "at": "1", "body": "{}", "dead_entry": event.entry}
        assert letter == fields | {f"dead_{name}": value for name, value in about.items()}
        assert await none_pending(redis)

    async def test_released_event_goes_to_another_member(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a", "b")
        async with self.joined(redis_url) as events:
            event, other = await anext(events), await anext(events)
            await events.release(event)
            assert await take("async", redis_url, 1, member="other") == [("a", 2)]
            await events.ack(event, other)
        assert await none_pending(redis)

    async def test_dead_letters_of_another_type_keep_the_event(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a")
        await redis.set(DEAD, "not ours")
        async with self.joined(redis_url) as events:
            with pytest.raises(ConsumerError, match="overwritten"):
                await events.reject(await anext(events))
        assert await pending(redis) == 1


class TestRun:
    """Several events at a time."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_order_holds_in_each_chat(self, redis: Redis, redis_url: str, kind: str) -> None:
        for number in range(30):
            await feed(redis, str(number), chat=f"chat-{number % 3}")
        seen: list[int] = []
        at_work: set[str | None] = set()
        most = 0
        lock = threading.Lock()
        change = threading.Event()

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
                return len(seen) == 30

        if kind == "async":
            async with consume(redis_url, topic="support", group="g") as events:

                async def handle(event: Event) -> None:
                    begin(event)
                    await asyncio.sleep(0.005)
                    if end(event):
                        events.stop()

                await events.run(handle, concurrency=8)
        else:
            with consume_sync(redis_url, topic="support", group="g") as blocking:

                def handle_blocking(event: Event) -> None:
                    begin(event)
                    change.wait(0.005)
                    if end(event):
                        blocking.stop()

                await asyncio.to_thread(blocking.run, handle_blocking, concurrency=8)
        assert most == 3
        for chat in range(3):
            assert [number for number in seen if number % 3 == chat] == list(range(chat, 30, 3))
        assert await none_pending(redis)

    async def test_failing_event_becomes_a_dead_letter_with_its_error(
        self, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("relay.consumer.protocol.member._FIRST_RETRY", 0.01)
        await feed(redis, "bad", "good", chat="c")
        seen: list[tuple[str, int]] = []
        async with consume(redis_url, topic="support", group="g", max_deliveries=3) as events:

            async def handle(event: Event) -> None:
                seen.append((event.id, event.deliveries))
                if event.id == "bad":
                    raise ValueError("no such customer")
                events.stop()

            await events.run(handle, concurrency=2)
        assert seen == [("bad", 1), ("bad", 2), ("bad", 3), ("good", 1)]
        (letter,) = await dead_letters(redis)
        assert (letter["dead_reason"], letter["dead_error"]) == ("max_deliveries", "ValueError: no such customer")
        assert await none_pending(redis)

    async def test_stopped_run_ends_with_its_handlers_however_much_waits(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, *map(str, range(10)))  # as many as are read ahead at first
        began, may_end = asyncio.Event(), asyncio.Event()

        async def handle(_: Event) -> None:
            began.set()
            await may_end.wait()

        async with consume(redis_url, topic="support", group="g") as events, asyncio.timeout(TIMEOUT):
            running = asyncio.create_task(events.run(handle, concurrency=2))
            await began.wait()
            events.stop()
            rest = await take("async", redis_url, 8, member="second")
            may_end.set()
            await running
        assert rest == [(str(number), 1) for number in range(2, 10)]
        assert await none_pending(redis)

    async def test_stopping_member_renews_what_its_handlers_have(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "slow")
        began, may_end = asyncio.Event(), asyncio.Event()
        idle_ms = 0

        async def handle(_: Event) -> None:
            began.set()
            await may_end.wait()

        async def is_renewed() -> bool:
            nonlocal idle_ms
            [row] = await redis.xpending_range(STREAM, "g", "-", "+", 1)
            before, idle_ms = idle_ms, int(row["time_since_delivered"])
            return idle_ms < before

        async with consume(redis_url, topic="support", group="g", claim_after=0.6) as events:
            running = asyncio.create_task(events.run(handle))
            await began.wait()
            events.stop()
            for _ in range(4):
                await eventually(is_renewed)
            may_end.set()
            await running
        assert await none_pending(redis)

    async def test_cancelled_run_finishes_what_is_begun(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, *map(str, range(6)))
        began, may_end = asyncio.Event(), asyncio.Event()
        done: list[str] = []

        async def handle(event: Event) -> None:
            began.set()
            await may_end.wait()
            done.append(event.id)

        async def work() -> None:
            async with consume(redis_url, topic="support", group="g") as events:
                await events.run(handle, concurrency=2)

        task = asyncio.create_task(work())
        await began.wait()
        task.cancel()
        rest = await take("async", redis_url, 4, member="second")
        may_end.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert sorted(done) == ["0", "1"]
        assert rest == [(str(number), 1) for number in range(2, 6)]
        assert await none_pending(redis)


@pytest.mark.parametrize("kind", KINDS)
async def test_batches_are_acknowledged_by_the_next(redis: Redis, redis_url: str, kind: str) -> None:
    await feed(redis, *map(str, range(25)))
    sizes: list[tuple[int, int]] = []
    client = blocking_redis.Redis.from_url(redis_url)

    def note(batch: list[Event]) -> bool:
        sizes.append((len(batch), client.xpending(STREAM, "g")["pending"]))  # type: ignore[index]
        return sum(size for size, _ in sizes) == 25

    with client:
        if kind == "async":
            async with consume(redis_url, topic="support", group="g") as events:
                async for batch in events.batches(10, wait=0.1):
                    if note(batch):
                        break
        else:
            with consume_sync(redis_url, topic="support", group="g") as blocking:
                for batch in blocking.batches(10, wait=0.1):
                    if note(batch):
                        break
    assert sizes == [(10, 10), (10, 10), (5, 5)]
    assert await none_pending(redis)


class TestTrimming:
    """Events that are gone before they were handled are told."""

    async def test_before_they_were_read(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, *map(str, range(20)))
        told: list[tuple[str, int]] = []
        await take("async", redis_url, 1, prefetch=1)
        await redis.xtrim(STREAM, maxlen=5, approximate=False)
        async with consume(redis_url, topic="support", group="g", on_lost=lambda *what: told.append(what)) as events:
            assert (await anext(events)).id == "15"
            assert (events.missed, events.trimmed) == (14, 0)
        assert told == [("missed", 14)]

    async def test_while_they_were_pending(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, *map(str, range(5)))
        await redis.xgroup_create(STREAM, "g", "0")
        await redis.xreadgroup("g", "m", {STREAM: ">"}, count=3)
        await redis.xtrim(STREAM, maxlen=3, approximate=False)
        async with consume(redis_url, topic="support", group="g", member="m") as events:
            assert [(await anext(events)).id for _ in range(3)] == ["2", "3", "4"]
            assert (events.missed, events.trimmed) == (0, 2)
        assert await none_pending(redis)

    async def test_while_a_member_has_them(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, *map(str, range(6)))
        async with consume(redis_url, topic="support", group="g", prefetch=6) as events:
            assert (await anext(events)).id == "0"
            await redis.xtrim(STREAM, maxlen=1, approximate=False)
            for _ in range(2):  # Redis forgets them at the first heartbeat
                await events._connected.run(events._member.home.beat())
            assert [(await anext(events)).id for _ in range(3)] == ["1", "2", "3"]
            assert (events.missed, events.trimmed) == (0, 0)
        assert events.trimmed == 1  # 4 was never handled
        async with consume(redis_url, topic="support", group="g") as events:
            assert (await anext(events)).id == "5"
        assert await none_pending(redis)


class TestLostGroup:
    """A group that is lost is made again at its last known place."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_it_continues_after_what_was_acknowledged(self, redis: Redis, redis_url: str, kind: str) -> None:
        await feed(redis, *map(str, range(10)))
        await take(kind, redis_url, 4)
        await redis.xgroup_destroy(STREAM, "g")
        assert [event.id for event in await take(kind, redis_url, 6)] == ["4", "5", "6", "7", "8", "9"]

    async def test_it_loses_nothing_while_it_is_read(
        self, redis: Redis, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await feed(redis, *map(str, range(300)))
        seen: list[str] = []
        async with asyncio.timeout(10), consume(redis_url, topic="support", group="g") as events:
            async for event in events:
                seen.append(event.id)
                if len(seen) in {100, 200}:
                    await redis.xgroup_destroy(STREAM, "g")
                if event.id == "299":
                    break
        assert set(seen) == set(map(str, range(300)))
        assert "was lost; it is made again" in caplog.text

    async def test_place_is_before_what_is_pending(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, *map(str, range(5)))
        entries = [entry for entry, _ in await redis.xrange(STREAM)]
        await take("async", redis_url, 2)
        place = (await redis.hget(PLACES, "g")).decode()  # type: ignore[misc]
        assert entries[1].decode() <= place < entries[2].decode()


async def test_member_without_rights_to_more_than_before_works(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b")
    commands = "ping select client|setname smembers xinfo|stream xpending xack xautoclaim xclaim xreadgroup"
    words = f"on >secret resetkeys ~{STREAM} %R~relay:topics resetchannels -@all +xgroup|create +xgroup|delconsumer"
    grants = [f"+{command}" for command in commands.split()]
    await redis.execute_command("ACL", "SETUSER", "older", *words.split(), *grants)  # type: ignore[no-untyped-call]
    url = redis_url.replace("://:", "://older:").replace(redis_url.partition("@")[0].rpartition(":")[2], "secret")
    assert await take("async", url, 2) == [("a", 1), ("b", 1)]
    await eventually(lambda: none_pending(redis))
    await redis.acl_deluser("older")


async def test_team_has_all_rights_that_it_needs(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b", "c")
    key = Keyspace()
    assert keys_of("support", "g") == (STREAM, PLACES, key.group_dead("support", "g"), key.topics)
    rights, *selectors = str(team_rule("support", key)).split(" (")
    words = ("on", ">secret", *rights.split(), *(f"({selector}" for selector in selectors))
    await redis.execute_command("ACL", "SETUSER", "team", *words)  # type: ignore[no-untyped-call]
    await redis.acl_log_reset()
    url = redis_url.replace("://:", "://team:").replace(redis_url.partition("@")[0].rpartition(":")[2], "secret")
    async with consume(url, topic="support", group="g", acknowledge="explicit") as events:
        assert await events.reject(await anext(events))
        await events.ack(await anext(events))
    assert await take("blocking", url, 1) == [("c", 1)]
    assert (await dead_letters(redis))[0]["id"] == "a"
    assert await redis.acl_log() == []
    async with AnyRedis.from_url(url) as team:
        with pytest.raises(NoPermissionError):
            await team.xadd(STREAM, {"id": "forged"})
    await redis.acl_deluser("team")


class Slow:
    """A member whose third event takes until `release` is set."""

    def __init__(self, kind: str, url: str, how: str) -> None:
        self.begun: list[str] = []
        self.release = threading.Event()
        self.consumer: Any = None
        self._kind, self._url, self._how = kind, url, how

    async def read(self) -> None:
        if self._kind == "blocking":
            await asyncio.to_thread(self._read_blocking)
            return
        async with consume(self._url, topic="support", group="g", member="slow") as self.consumer:
            if self._how == "batches":
                async for batch in self.consumer.batches(2, wait=0.1):
                    for event in batch:
                        await asyncio.to_thread(self._handle, event.id)
                return
            async for event in self.consumer:
                await asyncio.to_thread(self._handle, event.id)

    def _read_blocking(self) -> None:
        with consume_sync(self._url, topic="support", group="g", member="slow") as self.consumer:
            if self._how == "batches":
                for batch in self.consumer.batches(2, wait=0.1):
                    for event in batch:
                        self._handle(event.id)
                return
            for event in self.consumer:
                self._handle(event.id)

    def _handle(self, event_id: str) -> None:
        self.begun.append(event_id)
        if len(self.begun) == 3:
            self.release.wait(10)


@pytest.mark.parametrize("how", ["loop", "batches"])
@pytest.mark.parametrize("kind", KINDS)
async def test_slow_handler_delays_nothing_else(redis: Redis, redis_url: str, kind: str, how: str) -> None:
    await feed(redis, *"abcdef")
    slow = Slow(kind, redis_url, how)
    reading = asyncio.create_task(slow.read())
    try:
        await eventually(lambda: len(slow.begun) == 3)
        entries = [entry for entry, _ in await redis.xrange(STREAM)]
        await eventually(lambda: _oldest_is(redis, entries[2]))  # the others are acknowledged
        slow.consumer.stop()
        began = 4 if how == "batches" else 3
        assert await take("async", redis_url, 6 - began, member="next") == [(each, 1) for each in "abcdef"[began:]]
    finally:
        slow.release.set()
        await reading
    assert slow.begun == list("abcdef"[:began])
    assert await none_pending(redis)


async def _oldest_is(redis: Redis, entry: bytes) -> bool:
    return bool((await redis.xpending(STREAM, "g"))["min"] == entry)
