from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store import wakeups
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.inbox.inbox import Inbox, Moved, Permit, compile_feeds, parts_of
from relay.store.inbox.reading.hand_over import HandOver, Offer, Receivers, receiving
from relay.store.lanes.lane import Lane
from tests.building import TWO_TOPICS, config_of
from tests.store.inbox.test_inbox import accept, move
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis
    from relay.store.inbox.reading.hand_over import Row
    from tests.support import Clock

PERMIT = Permit("me", "prepared")
NOW_MS = 1_789_377_302_000
STREAM = KEYS.topic("messages")
JOB = wakeups.deliver(KEYS, wakeups.partition_of("bot")).job_id
READY = KEYS.ready(wakeups.partition_of("bot"))


class Bot:
    """The worker of the lane `bot`."""

    def __init__(self, lane: Lane) -> None:
        self.taken: list[Sequence[Row] | None] = []
        self.has_searched = False
        self._lane = lane

    def offer(self, stream: str) -> Offer | None:
        return self._lane.offer(stream, "mine", 50)

    def take(self, rows: Sequence[Row] | None) -> None:
        self.taken.append(rows)

    def resync(self) -> None:
        self.has_searched = True


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    return lane


async def commit(redis: Redis, clock: Clock, receivers: Receivers) -> Moved:
    inbox = Inbox(redis)
    await accept(redis, clock)
    await inbox.mark_prepared(PERMIT.preparation)
    parts = parts_of(
        compile_feeds(config_of(TWO_TOPICS), KEYS), [move(entry, "messages") for entry in await inbox.read(10)]
    )
    with HandOver(receivers, [("bot", STREAM)], 1) as hand_over:
        return await inbox.commit(parts, PERMIT, NOW_MS, hand_over)


async def test_lane_gets_its_events_and_is_not_woken(redis: Redis, clock: Clock, lane: Lane) -> None:
    await redis.set(KEYS.lease(JOB), "mine")
    bot = Bot(lane)
    assert await commit(redis, clock, {"bot": bot}) == Moved(1, 0, 0)
    [[(entry, fields)]] = bot.taken  # type: ignore[misc]
    assert [entry] == [entry for entry, _ in await redis.xrange(STREAM)]
    assert fields[:2] == [b"id", b"x"]
    assert [str(ref.entry).encode() for ref in await lane.orphans()] == [entry]  # pending until it is settled
    assert not await redis.exists(READY, f"arq:job:{JOB}")


@pytest.mark.parametrize("holder", ["another", None])
async def test_lane_without_its_lease_is_woken(redis: Redis, clock: Clock, lane: Lane, holder: str | None) -> None:
    if holder is not None:
        await redis.set(KEYS.lease(JOB), holder)
    bot = Bot(lane)
    assert await commit(redis, clock, {"bot": bot}) == Moved(1, 0, 0)
    assert bot.taken == [()]
    assert await redis.zrange(READY, 0, -1) == [b"bot"]
    assert await redis.exists(f"arq:job:{JOB}")
    assert await lane.has_new()


async def test_lane_without_its_group_is_woken(redis: Redis, clock: Clock, lane: Lane) -> None:
    await redis.set(KEYS.lease(JOB), "mine")
    await redis.delete(STREAM)
    bot = Bot(lane)
    assert await commit(redis, clock, {"bot": bot}) == Moved(1, 0, 0)
    assert bot.taken == [()]
    assert await redis.zrange(READY, 0, -1) == [b"bot"]


async def test_failed_commit_makes_the_lane_search_for_orphans(redis: Redis, clock: Clock, lane: Lane) -> None:
    await redis.set(KEYS.lease(wakeups.route(KEYS).job_id), "another router")
    bot = Bot(lane)
    with pytest.raises(LeaseLost):
        await commit(redis, clock, {"bot": bot})
    assert bot.taken == [None]


async def test_successor_of_a_receiver_searches(lane: Lane) -> None:
    first, second, receivers = Bot(lane), Bot(lane), Receivers()
    with receiving(receivers, "bot", first), HandOver(receivers, [("bot", STREAM)], 1) as hand_over:
        with receiving(receivers, "bot", second):
            hand_over.give([b"bot", [(b"1-1", [])]])
            assert first.taken == [[(b"1-1", [])]]
            assert second.has_searched
        assert not receivers
    assert first.taken == [[(b"1-1", [])]]


async def test_lane_of_another_topic_offers_nothing(lane: Lane) -> None:
    assert lane.offer(KEYS.topic("everything"), "mine", 50) is None
