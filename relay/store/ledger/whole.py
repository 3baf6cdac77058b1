"""The ledgers of a relay as a whole: the sums of those of its shards.

Each part balances as of a moment of its own, so the sums balance too: no event is ever on two shards.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from relay.store.driver.client import Redis
    from relay.store.ledger.ledger import LaneState, Totals

Part = TypeVar("Part")


async def of_each(redis: Redis, read: Callable[[Redis], Awaitable[Part]]) -> list[Part]:
    """Return what `read` finds on each shard of the relay whose first one is `redis`."""
    return await asyncio.gather(*map(read, redis.shards))


def whole_totals(parts: Sequence[Totals]) -> Totals:
    """Return the totals over all shards."""
    return type(parts[0])(**{each.name: sum(getattr(part, each.name) for part in parts) for each in fields(parts[0])})


def whole_states(parts: Sequence[Sequence[LaneState]]) -> list[LaneState]:
    """Return the states of the lanes, from those of the same lanes on each shard."""
    return [whole_state(of_lane) for of_lane in zip(*parts, strict=True)]


def whole_state(parts: Sequence[LaneState]) -> LaneState:
    """Return the state of a subscription, from its lanes on each shard; of replay streams it has the first one's."""
    first = parts[0].ledger
    counts = {each.name for each in fields(first)} - {"subscription", "shadow_of", "fault"}
    ledger = replace(
        first,
        fault="; ".join(part.ledger.fault for part in parts if part.ledger.fault),
        **{name: sum(getattr(part.ledger, name) for part in parts) for name in counts},
    )
    owed = () if ledger.fault else (*parts[0].owed[:1], *(each for part in parts for each in part.owed[1:]))
    return type(parts[0])(ledger, owed, all(part.is_exact for part in parts))
