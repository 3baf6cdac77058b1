from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.core.delivery.outcome import Attempt, DeadLettered, Delivered, Outcome, RetryAt
from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.isolation import WrongType
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.delivery import Tries
from relay.store.lanes.position import drop_lane
from relay.store.lanes.settler import Settlement, Settler
from tests.store.conftest import JOB
from tests.support import KEYS, hash_of

if TYPE_CHECKING:
    from relay.core.delivery.outcome import Verdict
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery
    from relay.store.lanes.lane import Lane

STREAM = "relay:topic:support"
FAILED = Attempt(Outcome.FAILED, at_ms=1000, took_ms=50, status=500, detail="no")


async def read(redis: Redis, lane: Lane, event_id: str = "e1") -> Delivery:
    await redis.xadd(STREAM, {"id": event_id, "type": "message.received", "at": "5", "body": b"\xff\x00"})
    [delivery] = await lane.read_new(1)
    return delivery


def settlement(lane: Lane, delivery: Delivery, verdict: Verdict, attempt: Attempt = FAILED) -> Settlement:
    return Settlement(lane, delivery, attempt, Tries(2, 900, attempt.outcome), verdict, attempt.ended_ms)


async def pending(redis: Redis, lane: Lane) -> int:
    count: int = (await redis.xpending(STREAM, lane.group))["pending"]
    return count


async def counters(redis: Redis) -> dict[str, int]:
    rows = await hash_of(redis, "relay:lane:bot")
    return {name: int(value) for name, value in rows.items() if ":" not in name}


async def test_success_closes_and_counts_the_delivery(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await settler.settle(settlement(lane, delivery, Delivered()))
    assert await pending(redis, lane) == 0
    assert await counters(redis) == {"delivered": 1}


async def test_settling_twice_counts_once(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    for _ in range(2):
        await settler.settle(settlement(lane, delivery, Delivered()))
    assert await counters(redis) == {"delivered": 1}


async def test_retry_stays_pending_and_stores_its_tries(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await settler.settle(settlement(lane, delivery, RetryAt(due_ms=77)))
    assert await pending(redis, lane) == 1
    assert await lane.next_due() == 77
    [taken] = await lane.read_due(77, 10)
    assert (taken.ref, taken.tries) == (delivery.ref, Tries(2, 900, "failed"))


async def test_success_after_retries_deletes_retry_and_tries(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await settler.settle(settlement(lane, delivery, RetryAt(due_ms=77)))
    await settler.settle(settlement(lane, delivery, Delivered()))
    assert not await redis.exists("relay:lane:bot:retries", "relay:lane:bot:tries")


async def test_dead_letter_has_the_event_and_the_reason(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await settler.settle(settlement(lane, delivery, DeadLettered("failed: no attempt left of 2")))
    assert await pending(redis, lane) == 0
    [letter] = [letter async for letter in DeadLetters(redis).of("bot")]
    assert (letter.record.id, letter.record.body, letter.topic) == ("e1", b"\xff\x00", "support")
    assert (letter.reason, letter.tries, letter.first_at, letter.at) == ("failed: no attempt left of 2", 2, 900, 1050)
    assert (letter.status, letter.detail) == (500, "no")


async def test_replay_gets_a_new_budget_of_attempts(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await settler.settle(settlement(lane, delivery, DeadLettered("x")))
    letters = DeadLetters(redis)
    [letter] = [letter async for letter in letters.of("bot")]
    assert await letters.replay("bot", [letter.record.entry], 1) == 1
    assert await letters.replay("bot", [letter.record.entry], 1) == 0
    [again] = await lane.read_new(10)
    assert (again.record.id, again.record.body, again.topic, again.is_replay) == ("e1", b"\xff\x00", "support", True)
    assert again.tries == Tries()
    assert b"bot" in await redis.zrange(KEYS.ready(wakeups.partition_of("bot")), 0, -1)
    assert await redis.zscore(KEYS.queue, wakeups.deliver(KEYS, wakeups.partition_of("bot")).job_id) == wakeups.NOW


async def test_replay_succeeds_or_is_dead_lettered_again(redis: Redis, lane: Lane, settler: Settler) -> None:
    letters = DeadLetters(redis)
    for event_id in ("e1", "e2"):
        await settler.settle(settlement(lane, await read(redis, lane, event_id), DeadLettered("x")))
    entries = [letter.record.entry async for letter in letters.of("bot")]
    await letters.replay("bot", entries, 1)
    good, bad = await lane.read_new(10)
    await settler.settle(settlement(lane, good, Delivered()))
    await settler.settle(settlement(lane, bad, DeadLettered("y")))
    assert await redis.xlen("relay:lane:bot:replay") == 0
    [letter] = [letter async for letter in letters.of("bot")]
    assert (letter.record.id, letter.reason, letter.topic) == ("e2", "y", "support")
    assert await counters(redis) == {"delivered": 1, "died": 3, "replayed": 2}


async def test_worker_without_the_lease_can_only_report_success(redis: Redis, lane: Lane, settler: Settler) -> None:
    await redis.set(KEYS.lease(JOB), "somebody else")
    first, second, third = [await read(redis, lane, event_id) for event_id in ("e1", "e2", "e3")]
    await settler.settle(settlement(lane, first, Delivered()))
    await settler.settle(settlement(lane, second, RetryAt(due_ms=77)))
    await settler.settle(settlement(lane, third, DeadLettered("x")))
    assert await pending(redis, lane) == 2
    assert await lane.next_due() is None
    assert await redis.xlen("relay:lane:bot:dead") == 0


async def test_retry_of_a_settled_delivery_is_not_stored(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await redis.xack(STREAM, lane.group, delivery.ref.entry)
    await settler.settle(settlement(lane, delivery, RetryAt(due_ms=77)))
    assert await lane.next_due() is None


async def test_settling_without_a_group_is_no_error(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await redis.xgroup_destroy(STREAM, lane.group)
    for verdict in (Delivered(), RetryAt(due_ms=1), DeadLettered("x")):
        await settler.settle(settlement(lane, delivery, verdict))
    assert await counters(redis) == {}


async def test_late_success_leaves_nothing_of_a_dropped_lane(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery = await read(redis, lane)
    await drop_lane(redis, "bot")
    await settler.settle(settlement(lane, delivery, Delivered()))
    assert not await redis.exists(*KEYS.lane_types("bot"))


async def test_rest_of_a_batch_is_counted_when_one_write_fails(redis: Redis, lane: Lane, settler: Settler) -> None:
    deliveries = [await read(redis, lane, event_id) for event_id in ("e1", "e2", "e3")]
    await redis.set("relay:lane:bot:dead", "not a stream")
    verdicts: tuple[Verdict, ...] = (Delivered(), DeadLettered("x"), Delivered())
    settlements = [settlement(lane, one, verdict) for one, verdict in zip(deliveries, verdicts, strict=True)]
    results = await asyncio.gather(*map(settler.settle, settlements), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), WrongType, type(None)]
    assert await counters(redis) == {"delivered": 2}
    await redis.delete("relay:lane:bot:dead")
    await settler.settle(settlements[1])
    assert await counters(redis) == {"delivered": 2, "died": 1}
    assert await redis.xlen("relay:lane:bot:dead") == 1


async def test_counter_that_is_no_number_stops_no_other(redis: Redis, lane: Lane, settler: Settler) -> None:
    await ask(redis.hset(lane.key, "delivered", "many"))
    await settler.settle(settlement(lane, await read(redis, lane), Delivered()))
    assert await counters(redis) == {"delivered": 1}


async def test_retry_and_success_in_one_batch_leave_nothing(redis: Redis, lane: Lane, settler: Settler) -> None:
    delivery, other = await read(redis, lane), await read(redis, lane, "e2")
    verdicts: list[tuple[Delivery, Verdict]] = [
        (other, Delivered()),
        (delivery, RetryAt(due_ms=77)),
        (delivery, Delivered()),
    ]
    await asyncio.gather(*(settler.settle(settlement(lane, one, verdict)) for one, verdict in verdicts))
    assert await counters(redis) == {"delivered": 2}
    assert await redis.exists("relay:lane:bot:retries", "relay:lane:bot:tries") == 0
