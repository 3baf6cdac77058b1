from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from redis import Redis as BlockingRedis

from relay.consumer import StoreError, UnknownTopic, consume
from relay.consumer.protocol.reading import Reading
from relay.store.topics.registry import register_topics
from tests.support import TIMEOUT, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.store.driver.client import Redis

STREAM = "relay:topic:support"


async def feed(redis: Redis, *ids: str) -> None:
    for event_id in ids:
        await redis.xadd(STREAM, {"id": event_id, "type": "x", "at": "1", "body": "{}"})


async def pending(redis: Redis, group: str = "g") -> int:
    count: int = (await redis.xpending(STREAM, group))["pending"]
    return count


async def take(url: str, count: int, group: str = "g", member: str = "m", **options: object) -> list[str]:
    """Return the first `count` events that a member gets."""
    taken: list[str] = []
    async with asyncio.timeout(TIMEOUT), consume(url, topic="support", group=group, member=member, **options) as events:  # type: ignore[arg-type]
        async for event in events:
            taken.append(event.id)
            if len(taken) == count:
                break
    return taken


async def test_each_group_gets_all_events_and_its_members_share_them(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b", "c")
    assert await take(redis_url, 3, "one") == ["a", "b", "c"]
    assert await take(redis_url, 2, "two") == ["a", "b"]
    assert await take(redis_url, 1, "two") == ["c"]


async def test_new_group_starts_at_its_start_option(redis: Redis, redis_url: str) -> None:
    await feed(redis, "old")
    async with consume(redis_url, topic="support", group="late", start="$") as events:
        await feed(redis, "new")
        assert (await anext(events)).id == "new"


async def test_next_event_acknowledges_the_previous(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b")
    async with consume(redis_url, topic="support", group="g") as events:
        await anext(events)
        assert await pending(redis) == 2
        await anext(events)
        waiting = asyncio.create_task(anext(events))
        await eventually(lambda: _none_pending(redis))
        waiting.cancel()


async def _none_pending(redis: Redis) -> bool:
    return await pending(redis) == 0


async def test_event_is_redelivered_after_the_handler_raised(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b")

    async def handle() -> None:
        async with consume(redis_url, topic="support", group="g", member="m") as events:
            async for _ in events:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await handle()
    assert await take(redis_url, 2) == ["a", "b"]


async def test_clean_exit_acknowledges_and_leaves_the_group(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a")
    await take(redis_url, 1)
    assert await pending(redis) == 0
    assert await redis.xinfo_consumers(STREAM, "g") == []


async def test_stale_events_of_a_dead_member_are_claimed(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b")
    await redis.xgroup_create(STREAM, "g", "0")
    await redis.xreadgroup("g", "dead", {STREAM: ">"})
    await asyncio.sleep(0.1)
    assert await take(redis_url, 2, claim_after=0.05) == ["a", "b"]


async def test_member_of_a_former_name_leaves_what_another_has_claimed(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that was killed starts again under its name, while another takes its events over."""
    await feed(redis, "a", "b")
    await redis.xgroup_create(STREAM, "g", "0")
    rows = await redis.xreadgroup("g", "m", {STREAM: ">"})
    entries = [entry for entry, _ in rows[0][1]]
    claim, is_taken = Reading._claim, False

    def claim_later(reading: Reading, want: int) -> Iterator[object]:
        nonlocal is_taken
        if not is_taken:
            with BlockingRedis.from_url(redis_url) as other:
                is_taken = len(other.xclaim(STREAM, "g", "other", 50, entries)) == len(entries)
        return claim(reading, want)

    await asyncio.sleep(0.1)
    monkeypatch.setattr(Reading, "_claim", claim_later)
    await feed(redis, "c")
    assert await take(redis_url, 1, claim_after=60) == ["c"]
    assert is_taken
    assert await pending(redis) == 2


async def test_events_of_a_working_member_are_renewed_and_not_claimed(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b", "c")
    idle_ms = [0, 0, 0]

    async def are_renewed() -> bool:
        nonlocal idle_ms
        rows = await redis.xpending_range(STREAM, "g", "-", "+", 3, "slow")
        before, idle_ms = idle_ms, [int(row["time_since_delivered"]) for row in rows]
        return len(rows) == 3 and all(now < then for now, then in zip(idle_ms, before, strict=True))

    async with consume(redis_url, topic="support", group="g", member="slow", claim_after=0.3) as slow:
        await anext(slow)
        for _ in range(3):
            await eventually(are_renewed)


async def test_trimmed_entry_is_skipped(redis: Redis, redis_url: str) -> None:
    await feed(redis, "gone", "here")
    await redis.xgroup_create(STREAM, "g", "0")
    [[_, [[entry, _], *_]]] = await redis.xreadgroup("g", "m", {STREAM: ">"})
    await redis.xdel(STREAM, entry)
    assert await take(redis_url, 1) == ["here"]


async def test_destroyed_group_is_created_again(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a")
    async with asyncio.timeout(10), consume(redis_url, topic="support", group="g") as events:
        assert (await anext(events)).id == "a"
        await redis.flushall()
        await feed(redis, "b")
        assert (await anext(events)).id == "b"


async def test_broken_connections_lose_no_event(redis: Redis, redis_url: str) -> None:
    await feed(redis, *map(str, range(300)))
    taken: list[str] = []
    async with asyncio.timeout(20), consume(redis_url, topic="support", group="g", member="m") as events:
        async for event in events:
            taken.append(event.id)
            if len(taken) % 50 == 0:
                await redis.client_kill_filter(_type="normal", skipme=True)
            if len(set(taken)) == 300:
                break
    assert set(taken) == {str(number) for number in range(300)}


@pytest.mark.parametrize(
    ("group", "member", "prefix"), [("push:bot", "m", "push:"), ("billing", "relay:returned", "relay:")]
)
def test_names_of_the_relay_are_refused(group: str, member: str, prefix: str) -> None:
    with pytest.raises(ValueError, match=f'choose a name without "{prefix}"'):
        consume("redis://localhost", topic="support", group=group, member=member)


class TestHandBack:
    """Events that a member had read when it left."""

    IDS = tuple(map(str, range(150)))

    async def leave(self, url: str, how: str, member: str = "first") -> list[str]:
        """Read two events and leave; return the events that are acknowledged then."""
        taken: list[str] = []
        is_waiting = asyncio.Event()

        async def read() -> None:
            async with consume(url, topic="support", group="g", member=member) as events:
                async for event in events:
                    taken.append(event.id)
                    if len(taken) == 2:
                        if how == "break":
                            break
                        if how == "raise":
                            raise ZeroDivisionError
                        is_waiting.set()
                        await asyncio.Event().wait()

        task = asyncio.create_task(read())
        if how == "cancel":
            await is_waiting.wait()
            task.cancel()
        await asyncio.wait([task])
        return taken if how == "break" else taken[:-1]

    @pytest.mark.parametrize("how", ["break", "raise", "cancel"])
    async def test_next_member_gets_them_at_once_in_order(self, redis: Redis, redis_url: str, how: str) -> None:
        await feed(redis, *self.IDS)
        done = await self.leave(redis_url, how)
        assert [*done, *await take(redis_url, 150 - len(done), member="second")] == list(self.IDS)
        assert [row["name"] for row in await redis.xinfo_consumers(STREAM, "g")] == [b"relay:returned"]

    async def test_waiting_member_gets_them_at_once(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a", "b", "c")
        async with consume(redis_url, topic="support", group="g", member="first") as first:
            await anext(first)
            second = asyncio.create_task(take(redis_url, 2, member="second"))
            await eventually(lambda: self.is_member(redis, b"second"))
        assert await second == ["b", "c"]

    async def is_member(self, redis: Redis, name: bytes) -> bool:
        return name in [row["name"] for row in await redis.xinfo_consumers(STREAM, "g")]

    async def test_each_of_them_goes_to_one_member(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, *self.IDS)
        await self.leave(redis_url, "break")
        both = await asyncio.gather(*(take(redis_url, 60, member=member) for member in ("second", "third")))
        rest = await take(redis_url, 28, member="fourth")
        assert sorted([*both[0], *both[1], *rest], key=int) == list(self.IDS[2:])

    async def test_claims_of_other_clients_find_them(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a", "b", "c")
        await self.leave(redis_url, "break")
        reply = await redis.xautoclaim(STREAM, "g", "other language", min_idle_time=3_600_000)
        assert [fields[b"id"] for _, fields in reply[1]] == [b"c"]

    async def test_trimmed_ones_are_not_handed_back(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a", "b", "c")
        async with consume(redis_url, topic="support", group="g", member="m") as events:
            await anext(events)
            await redis.xtrim(STREAM, maxlen=1, approximate=False)
        assert await take(redis_url, 1, member="second") == ["c"]
        assert await pending(redis) == 0


class TestTopic:
    """Topics that do not exist, or whose key is no stream."""

    @pytest.fixture(autouse=True)
    def grace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relay.consumer.protocol.group.TOPIC_GRACE", 0.1)

    async def join(self, url: str, topic: str) -> str:
        """Return the next event's id."""
        async with asyncio.timeout(10), consume(url, topic=topic, group="g") as events:
            return (await anext(events)).id

    async def test_unknown_topic_is_an_error_with_the_nearest(
        self, redis: Redis, redis_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await register_topics(redis, ["support", "billing"])
        message = 'no topic "suport" (known: billing, support); did you mean "support"?'
        with pytest.raises(UnknownTopic, match=re.escape(message)):
            await self.join(redis_url, "suport")
        assert message in caplog.text
        assert not await redis.exists("relay:topic:suport")

    async def test_topic_that_appears_meanwhile_is_read(self, redis: Redis, redis_url: str) -> None:
        await register_topics(redis, ["billing"])
        reading = asyncio.create_task(self.join(redis_url, "support"))
        await register_topics(redis, ["support"])
        await feed(redis, "a")
        assert await reading == "a"

    async def test_consumer_may_start_before_the_relay(self, redis: Redis, redis_url: str) -> None:
        reading = asyncio.create_task(self.join(redis_url, "support"))
        await eventually(lambda: redis.exists(STREAM))
        await register_topics(redis, ["support"])
        await feed(redis, "a")
        assert await reading == "a"

    async def test_unknown_topic_is_found_when_the_relay_starts(self, redis: Redis, redis_url: str) -> None:
        reading = asyncio.create_task(self.join(redis_url, "suport"))
        await eventually(lambda: redis.exists("relay:topic:suport"))
        await register_topics(redis, ["support"])
        with pytest.raises(UnknownTopic, match="did you mean"):
            await reading

    async def test_key_of_another_type_is_an_error(self, redis: Redis, redis_url: str) -> None:
        await redis.set(STREAM, "not ours")
        with pytest.raises(StoreError, match="relay:topic:support is not a stream"):
            await self.join(redis_url, "support")

    async def test_topic_overwritten_meanwhile_is_an_error(self, redis: Redis, redis_url: str) -> None:
        await feed(redis, "a")
        async with consume(redis_url, topic="support", group="g") as events:
            await anext(events)
            await redis.set(STREAM, "not ours")
            with pytest.raises(StoreError, match="is not a stream"):
                await anext(events)

    async def test_wrong_password_is_an_error(self, redis_url: str) -> None:
        with pytest.raises(StoreError, match="Redis refuses this consumer"):
            await self.join(re.sub(":[^:]*@", ":wrong@", redis_url), "support")
