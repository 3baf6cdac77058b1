"""Preparation of lanes: before the router routes by rules, the groups of all their lanes must exist."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from relay.store.lanes.many.look import look_at_lanes
from relay.store.lanes.position import ensure_lanes, lane_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.exceptions import ResponseError

    from relay.store.driver.client import Redis
    from relay.store.lanes.many.look import LanePlace


async def prepare_lanes(redis: Redis, places: Sequence[LanePlace]) -> dict[str, ResponseError]:
    """Create the groups of those lanes that do not have them yet; return the errors of single lanes by name."""
    looks, known = await look_at_lanes(redis, places), set(await lane_names(redis))
    return await ensure_lanes(
        redis,
        [each for each in places if each.name not in known or (each.name in looks and looks[each.name].is_special)],
    )


def mark_of(places: Sequence[LanePlace]) -> str:
    """Return a name of these lanes and their streams: rules with the same lanes have the same."""
    return sha256("\n".join(sorted(f"{name} {stream}" for name, stream in places)).encode()).hexdigest()[:16]
