from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.delivery.outcome import Attempt, DeadLettered, Delivered, Outcome, RetryAt
from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.inbox import Inbox, Move, Permit, compile_feeds, parts_of
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.ledger.ledger import LaneLedger, Ledger, Totals
from tests.building import TWO_TOPICS, config_of, webhook_of
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.support import Clock

FAILED = Attempt(Outcome.FAILED, at_ms=1, took_ms=1, status=500)


async def test_ledger_balances_at_every_step(redis: Redis, clock: Clock) -> None:
    ledger = Ledger(redis)
    assert await ledger.totals() == Totals(0, 0, 0, 0, 0, 0)
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    await redis.set(KEYS.lease(wakeups.route(KEYS).job_id), "me")
    await redis.set(KEYS.lease("job"), "me")

    async with Acceptor(redis, 60.0, clock) as acceptor:
        webhooks = [webhook_of() for _ in range(6)]
        for webhook in [*webhooks, webhooks[0]]:
            await acceptor.accept(webhook)
    assert await ledger.totals() == Totals(accepted=6, duplicate=1, quarantined=0, routed=0, unmatched=0, inbox=6)

    inbox = Inbox(redis)
    await inbox.mark_prepared("now")
    entries = await inbox.read(10)
    moves = [Move(entry.entry, ["messages"], ["id", str(n), "body", "b"], 1) for n, entry in enumerate(entries[:5])]
    moves.append(Move(entries[5].entry, [], ["unmatched.type"], 1))
    await inbox.commit(parts_of(compile_feeds(config_of(TWO_TOPICS), KEYS), moves), Permit("me", "now"), 1)
    totals = await ledger.totals()
    assert (totals.routed, totals.unmatched, totals.inbox, totals.balances) == (5, 1, 0, True)
    assert await ledger.unmatched() == {"unmatched.type": 1}
    assert await ledger.lanes() == [LaneLedger("bot", routed=5, delivered=0, waiting=5, retrying=0, dead=0, replayed=0)]

    one, two, three, *_ = await lane.read_new(4)
    async with Settler(redis, "job", "me") as settler:
        tries = Tries(1, 1, "failed")
        await settler.settle(Settlement(lane, one, FAILED, tries, Delivered(), 1))
        await settler.settle(Settlement(lane, two, FAILED, tries, RetryAt(due_ms=9), 1))
        await settler.settle(Settlement(lane, three, FAILED, tries, DeadLettered("x"), 1))
        assert await ledger.lanes() == [LaneLedger("bot", 5, delivered=1, waiting=2, retrying=1, dead=1, replayed=0)]

        letters = DeadLetters(redis)
        await letters.replay("bot", [letter.record.entry async for letter in letters.of("bot")], 1)
        assert await ledger.lanes() == [LaneLedger("bot", 5, delivered=1, waiting=3, retrying=1, dead=0, replayed=1)]
    assert all(row.balances for row in await ledger.lanes())


async def test_lag_is_counted_if_redis_does_not_know_it(redis: Redis) -> None:
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    entries = [await redis.xadd("relay:topic:messages", {"id": str(n), "body": "b"}) for n in range(5)]
    await redis.xgroup_setid("relay:topic:messages", lane.group, entries[1])
    [row] = await Ledger(redis).lanes()
    assert row.waiting == 3
    assert not row.balances  # routed was never counted for these


async def test_lane_whose_group_was_deleted_is_read(redis: Redis) -> None:
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    await redis.xadd("relay:topic:messages", {"id": "1", "body": "b"})
    await redis.xgroup_destroy("relay:topic:messages", lane.group)
    await ask(redis.hset(KEYS.lane("bot"), "delivered", "3"))  # so that it does not balance, and is counted
    [row] = await Ledger(redis).lanes()
    assert (row.waiting, row.balances) == (0, False)
