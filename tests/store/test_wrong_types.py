"""A key of a wrong type: every script fails before its first write, and works once the key is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from relay.core.config.topics import DeadBounds
from relay.core.delivery.outcome import Attempt, DeadLettered, Delivered, Filtered, Outcome, RetryAt
from relay.core.errors import StoreUnavailable
from relay.core.event import Dialect
from relay.store import keys, wakeups
from relay.store.driver.client import ask
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.claims import CLAIM_BYTES
from relay.store.inbox.inbox import Inbox, Move, Permit, compile_feeds, parts_of
from relay.store.inbox.quarantine import Quarantine, Readable
from relay.store.isolation import WrongType
from relay.store.lanes.dead_letter_bounds import trim_dead_letters
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.delivery import Delivery, Ref, Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from tests.building import TWO_TOPICS, config_of, webhook_of
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.core.delivery.outcome import Verdict
    from relay.store.driver.client import Redis

    Operation = Callable[[Redis], Awaitable[object]]

FAILURES = (RedisError, StoreUnavailable, WrongType)
NOW_MS = 1_789_377_302_000
READY = KEYS.ready(wakeups.partition_of("bot"))
BLOCKED, DEAD = KEYS.lane("bot", "blocked"), KEYS.lane("bot", "dead")


async def accept(redis: Redis) -> object:
    async with Acceptor(redis, 60.0, lambda: NOW_MS / 1000) as acceptor:
        return await acceptor.accept(webhook_of(event_id="e1"))


async def route(redis: Redis) -> object:
    inbox, permit = Inbox(redis), Permit("token", "prepared")
    await redis.set(KEYS.prepared, permit.preparation)
    if not await redis.exists(KEYS.inbox):
        await redis.xadd(KEYS.inbox, {"id": "e1", "body": "{}"}, id="1-1")
    if await redis.exists(KEYS.held("messages")):  # it is read only while the topic cannot be used
        await redis.set(KEYS.topic("messages"), "not ours")
    moves = [Move(b"1-1", ("messages",), ("id", "e1", "body", b"{}"), 2)]
    return await inbox.commit(parts_of(compile_feeds(config_of(TWO_TOPICS), KEYS), moves), permit, NOW_MS)


async def quarantine(redis: Redis) -> None:
    await Quarantine(redis).put(Dialect.V3, None, b"not JSON", "not JSON", NOW_MS)


async def retry_quarantined(redis: Redis) -> object:
    if not await redis.exists(KEYS.quarantine):
        await redis.xadd(KEYS.quarantine, {"dialect": "v3", "line": "", "body": "{}"}, id="1-1")
    return await Quarantine(redis).retry(
        [Readable("1-1", "e1", "message.received", bytes(CLAIM_BYTES))], 60_000, NOW_MS
    )


def settle(verdict: Verdict) -> Operation:
    async def operate(redis: Redis) -> None:
        lane, retries = Lane(redis, "bot", "support"), KEYS.lane("bot", "retries")
        if not await redis.exists(lane.topic_stream):
            await redis.xgroup_create(lane.topic_stream, lane.group, id="0", mkstream=True)
            await redis.xadd(lane.topic_stream, {"id": "e1"}, id="1-1")
            await redis.xreadgroup(lane.group, keys.CONSUMER, {lane.topic_stream: ">"})
            if await redis.type(retries) == b"none":  # it has failed before
                await redis.zadd(retries, {f"{lane.topic_stream}|1-1": 1})
        fields = {b"id": b"e1", b"type": b"message.received", b"at": b"1", b"dead_blocks": b"chat"}
        delivery = Delivery(Ref(lane.topic_stream, "1-1"), fields)
        attempt = Attempt(Outcome.FAILED, 1, 1, 500, "no")
        async with Settler(redis, "job", "token") as settler:
            await settler.settle(Settlement(lane, delivery, attempt, Tries(), verdict, 1, blocks="chat"))

    return operate


async def replay(redis: Redis) -> object:
    return await DeadLetters(redis).replay("bot", ["1-1"], NOW_MS)


async def drop(redis: Redis) -> object:
    return await DeadLetters(redis).drop("bot", ["1-1"], NOW_MS)


async def trim(redis: Redis) -> object:
    return await trim_dead_letters(redis, "bot", DeadBounds(keep="1s"), NOW_MS)  # type: ignore[arg-type]


LANE_KEYS = [*KEYS.lane_types("bot")]
TRIED = [KEYS.lane("bot", part) for part in ("retries", "tries", "attempts", "answers")]


async def ensure_lane(redis: Redis) -> None:
    await Lane(redis, "bot", "support").ensure()


def on_dead_letters(method: Operation) -> Operation:
    async def operate(redis: Redis) -> object:
        if not await redis.exists(DEAD):
            await redis.xadd(DEAD, {"id": "e1", "body": "{}", "dead_blocks": "chat"}, id="1-1")
        if not await redis.exists(BLOCKED):
            await ask(redis.hset(BLOCKED, "chat", f"{DEAD}|1-1"))
        return await method(redis)

    return operate


CASES: list[tuple[str, Operation, list[str]]] = [
    ("accept", accept, [KEYS.inbox, KEYS.counts, KEYS.queue]),
    (
        "route",
        route,
        [
            KEYS.inbox,
            KEYS.counts,
            KEYS.unmatched,
            KEYS.quarantine,
            KEYS.topics,
            KEYS.queue,
            KEYS.held("messages"),
        ],
    ),
    ("quarantine", quarantine, [KEYS.quarantine, KEYS.counts]),
    ("retry quarantined", retry_quarantined, [KEYS.quarantine, KEYS.inbox, KEYS.counts, KEYS.queue]),
    (
        "ensure lane",
        ensure_lane,
        [KEYS.lanes, KEYS.topic("support"), *LANE_KEYS],
    ),
    ("settle delivered", settle(Delivered()), [KEYS.lane("bot"), BLOCKED, *TRIED[:-1]]),
    ("settle filtered", settle(Filtered()), [KEYS.lane("bot"), BLOCKED, *TRIED[:-1]]),
    ("settle again", settle(RetryAt(5)), [KEYS.lane("bot"), *TRIED]),
    ("settle dead", settle(DeadLettered("x")), [KEYS.lane("bot"), BLOCKED, DEAD, *TRIED]),
    ("replay dead letters", on_dead_letters(replay), [KEYS.lane("bot"), KEYS.lane("bot", "replay"), READY]),
    ("trim dead letters", on_dead_letters(trim), [KEYS.lane("bot"), BLOCKED, READY, KEYS.queue]),
    ("drop dead letters", on_dead_letters(drop), [KEYS.lane("bot"), BLOCKED, READY, KEYS.queue]),
]


async def everything(redis: Redis) -> dict[bytes, bytes]:
    return {key: await redis.dump(key) for key in await redis.keys()}


@pytest.mark.parametrize(
    ("operate", "key"),
    [pytest.param(operate, key, id=f"{name}: {key}") for name, operate, broken in CASES for key in broken],
)
async def test_script_fails_before_its_first_write(redis: Redis, operate: Operation, key: str) -> None:
    await redis.set(key, "not ours")
    with pytest.raises(FAILURES, match="WRONGTYPE"):
        await operate(redis)
    before = await everything(redis)
    with pytest.raises(FAILURES, match="WRONGTYPE"):
        await operate(redis)
    assert await everything(redis) == before
    await redis.delete(key)
    await operate(redis)


async def test_retry_after_a_wrong_type_is_accepted_as_new(redis: Redis) -> None:
    await redis.set(KEYS.inbox, "not ours")
    with pytest.raises(StoreUnavailable):
        await accept(redis)
    await redis.delete(KEYS.inbox)
    assert await accept(redis) is True
    assert await redis.xlen(KEYS.inbox) == 1
