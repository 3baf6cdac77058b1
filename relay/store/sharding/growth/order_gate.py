"""The order of a chat that moves to a new shard: the gate of a lane with `ordered`.

The events of such a chat from before the fences are on its former shard: in the inbox, in a topic, or read and not
settled. A lane is closed on the new shards until none of them is on its way there, on any old shard:

    inbox      no entry up to the fence is left
    topic      the lane has read up to where the topic ended then, and no event is held for its repair
    lane       no delivery from up to there that is not settled, or whose dead letter blocks its chat, is of a chat that
               moves

With jump hash no chat moves from one old shard to another, so their lanes have no gate; nor has a lane without order.
An open lane is noted on the first shard and stays open.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import ResponseError

from relay.core.sharding.placement import shard_of_chat
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.streams import is_missing_group, is_no_such_key, order_of, pages
from relay.store.sharding.growth.fence import fence_of
from relay.store.sharding.growth.state import note_opened, opened_lanes, read_growth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.config.relay_toml import Subscription
    from relay.store.driver.client import Redis
    from relay.store.sharding.growth.state import Growth

_PAGE = 200
_MAX_LOOKED_AT = 5000
"""Unsettled deliveries; with more, the lane stays closed without a look at each."""


class OrderedLane(NamedTuple):
    """A lane that keeps the order of each chat."""

    name: str
    topic: str
    blocks: bool
    """True if a dead letter blocks its chat."""


def ordered_lanes(subscriptions: Iterable[Subscription]) -> list[OrderedLane]:
    """Return the lanes of those subscriptions that keep the order of each chat."""
    return [
        OrderedLane(each.name, each.topic, each.block_on_dead) for each in subscriptions if each.ordered is not None
    ]


async def open_lanes(home: Redis, lanes: Iterable[OrderedLane], now_ms: int) -> dict[str, str]:
    """Open those lanes on the new shards that may be; return the closed ones, each with the reason.

    Without a growth, or after it, all are open.
    """
    growth = await read_growth(home)
    if growth is None or growth.done_ms is not None:
        return {}
    opened = await opened_lanes(home)
    closed = {lane: "the number of shards has not changed yet" for lane in lanes if lane.name not in opened}
    if growth.advanced_ms is None:
        return {lane.name: reason for lane, reason in closed.items()}
    found = {}
    for lane in closed:
        if (reason := await unfinished(home, growth, lane)) is not None:
            found[lane.name] = reason
        else:
            await note_opened(home, lane.name, now_ms)
    return found


async def unfinished(home: Redis, growth: Growth, lane: OrderedLane) -> str | None:
    """Return what of a lane is on its way on the old shards from before the fences, in words; None if nothing is."""
    old = enumerate(home.shards[: growth.former])
    reasons = await asyncio.gather(*(_unfinished_on(shard, number, growth, lane) for number, shard in old))
    return next((reason for reason in reasons if reason), None)


async def passed_fence(shard: Redis, target: int) -> bool:
    """Return True if all events of the inbox of an old shard from before its fence are routed."""
    fence = await fence_of(shard)
    if fence is None or fence.shards < target or not fence.inbox:
        return False
    return not await shard.xrange(shard.key.inbox, "-", fence.inbox, count=1)


async def _unfinished_on(shard: Redis, number: int, growth: Growth, lane: OrderedLane) -> str | None:
    on = f"on shard {number}"
    if not await passed_fence(shard, growth.target):
        return f"accepted events are not routed yet {on}"
    if await ask(shard.exists(shard.key.held(lane.topic))):
        return f"its topic is held until its stream is repaired {on}"
    end = await _end_of_topic(shard, lane.topic)
    if not await _has_read(shard, lane, end):
        return f"it has not read its topic up to the change {on}"
    count = await _unsettled_of_moving_chats(shard, number, growth, lane, end)
    if count:
        return f"{count} deliveries of chats that move are not settled {on}"
    if lane.blocks:
        chats = await ask(shard.hkeys(shard.key.lane(lane.name, "blocked")))
        if any(_moves(chat.decode(errors="replace"), number, growth) for chat in chats):
            return f"a dead letter blocks a chat that moves {on}"
    return None


async def _end_of_topic(shard: Redis, topic: str) -> str:
    """Return the id at which a topic ended when the inbox had passed its fence; noted at the first question."""
    field = f"topic:{topic}"
    [noted] = await ask(shard.hmget(shard.key.fence, [field]))
    if noted is None:
        await ask(shard.hsetnx(shard.key.fence, field, await _last_id(shard, topic)))
        [noted] = await ask(shard.hmget(shard.key.fence, [field]))
    return (noted or b"0-0").decode()


async def _last_id(shard: Redis, topic: str) -> str:
    try:
        last: bytes = (await shard.xinfo_stream(shard.key.topic(topic)))["last-generated-id"]
    except ResponseError as error:
        if not is_no_such_key(error):
            raise
        return "0-0"
    return last.decode()


async def _has_read(shard: Redis, lane: OrderedLane, end: str) -> bool:
    """Return True if the lane has read its topic up to `end`, or to the end of what is left of it."""
    if end == "0-0":
        return True
    try:
        groups = await shard.xinfo_groups(shard.key.topic(lane.topic))
    except ResponseError as error:
        if not is_no_such_key(error):
            raise
        return True  # an operator has deleted it
    group = keys.push_group(lane.name).encode()
    read = next((each["last-delivered-id"].decode() for each in groups if each["name"] == group), None)
    if read is None:
        return False
    needed = min(end, await _last_id(shard, lane.topic), key=order_of)
    return order_of(read) >= order_of(needed)


async def _unsettled_of_moving_chats(shard: Redis, number: int, growth: Growth, lane: OrderedLane, end: str) -> int:
    """Count the deliveries up to `end` that are of chats that move and are not settled."""
    stream, found = shard.key.topic(lane.topic), 0
    entries = await _pending(shard, stream, keys.push_group(lane.name), end)
    if len(entries) > _MAX_LOOKED_AT:
        return len(entries)
    for page in pages(entries, _PAGE):
        async with shard.pipeline(transaction=False) as pipe:
            for entry in page:
                pipe.xrange(stream, entry, entry)
            rows = [row for reply in await pipe.execute() for row in reply]
        found += sum(_moves(fields.get(b"chat", b"").decode(errors="replace"), number, growth) for _, fields in rows)
    return found


async def _pending(shard: Redis, stream: str, group: str, end: str) -> list[str]:
    """Return the entries up to `end` that the group has read and not settled; at most some more than are looked at."""
    found: list[str] = []
    start = "-"
    while len(found) <= _MAX_LOOKED_AT:
        try:
            rows = await shard.xpending_range(stream, group, start, end, _PAGE)
        except ResponseError as error:
            if not is_missing_group(error):
                raise
            return []
        found += [row["message_id"].decode() for row in rows]
        if len(rows) < _PAGE:
            break
        start = f"({found[-1]}"
    return found


def _moves(chat: str, number: int, growth: Growth) -> bool:
    """Return True if a chat of the old shard with this number has moved to a new one."""
    return bool(chat) and shard_of_chat(chat, growth.target) != number
