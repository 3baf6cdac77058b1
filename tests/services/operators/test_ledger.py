"""The ledger in pages of subscriptions: each of them balances by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.services.operators.ledger import read
from relay.store.lanes.lane import Lane
from tests.services.conftest import OPERATOR
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.services.context import Context


async def test_pages_have_every_subscription_once(context: Context) -> None:
    redis = context.redis
    for name, topic in (("a", "support"), ("b", "billing"), ("c", "support"), ("d", "billing")):
        await Lane(redis, name, topic).ensure()
    for topic, count in (("support", 3), ("billing", 2)):
        for _ in range(count):
            await redis.xadd(KEYS.topic(topic), {"id": "e", "body": "{}"})
    await redis.set(KEYS.lane("d", "retries"), "of a wrong type")
    pages, after = [], ""
    while True:
        books = await read(context, OPERATOR, after=after, limit=3)
        pages.append([(lane.subscription, lane.waiting, lane.balances) for lane in books.subscriptions])
        if books.is_whole:
            break
        after = books.subscriptions[-1].subscription
    assert pages == [[("a", 3, True), ("b", 2, True), ("c", 3, True)], [("d", 0, False)]]
    assert not (await read(context, OPERATOR)).balances
