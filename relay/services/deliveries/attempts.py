"""Delivery attempts and their outcomes."""

from __future__ import annotations

import heapq
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.event_filter import EventFilter
from relay.services.access import lanes_of
from relay.services.page import DEFAULT_LIMIT, Page, bound_at, check_limit, page_of, place_of
from relay.store.driver.merged_streams import Place
from relay.store.driver.streams import SKEW_MS
from relay.store.lanes.attempts.log import FoundAttempt, attempt_in, attempts_of, details_of
from relay.store.sharding.places import stream_of
from relay.store.sharding.shards import Shards
from relay.store.sharding.streams import Bounds, merged_shards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.driver.merged_streams import Entry

_ANY = EventFilter()


async def search(
    context: Context,
    principal: Principal,
    subscription: str | None = None,
    which: EventFilter = _ANY,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[FoundAttempt]:
    """Return a page of attempts over all subscriptions, the one that ended last first.

    Raises:
        NotFound: there is no subscription of that name.
        Invalid: the cursor or the limit is wrong.
    """
    principal.require(Scope.READ)
    after, limit = place_of(cursor), check_limit(limit)
    lanes = await lanes_of(context, principal, subscription)
    shards = Shards.from_home(context.redis)
    since = bound_at(which.since_ms, SKEW_MS)

    def matching(entry: Entry) -> tuple[Place, FoundAttempt] | None:
        subscription, shard = stream_of(entry.place.name)
        found = attempt_in(subscription, entry.fields, which)
        return None if found is None else (entry.place, found.on(shard))

    entries = merged_shards(
        shards,
        lambda shard: {name: shard.key.lane(name, "attempts") for name in lanes},
        **Bounds(newest_first=True, after=after, since=since, count=limit),
    )
    page = await page_of(entries, limit, matching)
    details = await _details(shards, [place for place, _ in page.items])
    attempts = (replace(found, detail=text) for (_, found), text in zip(page.items, details, strict=True))
    return Page(tuple(attempts), page.next)


async def latest(
    context: Context, principal: Principal, subscription: str | None, which: EventFilter, limit: int
) -> list[FoundAttempt]:
    """Return the newest attempts that match, newest first; reads the logs until they are found.

    Raises:
        NotFound: there is no subscription of that name.
    """
    principal.require(Scope.READ)
    found: list[FoundAttempt] = []
    for lane in await lanes_of(context, principal, subscription):
        for number, shard in enumerate(context.redis.shards):
            most = len(found) + limit
            async with aclosing(attempts_of(shard, lane, which)) as newest_first:
                async for attempt in newest_first:
                    found.append(attempt.on(number))
                    if len(found) == most:
                        break
    return heapq.nlargest(limit, found, key=lambda each: each.attempt.at_ms)


async def _details(shards: Shards, places: Sequence[Place]) -> list[str]:
    """Return the error or the response body of each attempt, by its place on its shard."""
    found: dict[Place, str] = {}
    for number, shard in enumerate(shards.all):
        here = [place for place in places if stream_of(place.name)[1] == number]
        names = [Place(place.id, stream_of(place.name)[0]) for place in here]
        found |= zip(here, await details_of(shard, names), strict=True)
    return [found[place] for place in places]
