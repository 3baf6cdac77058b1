from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import Conflict, Invalid, NotFound
from relay.services.account.teams import create_team, delete_team
from relay.services.context import Context
from relay.services.topics.pull.listen_secret import listen_secret
from relay.services.topics.pull.tail import Tail, Tails, tail
from tests.services.topics.pull.reading import CRM, OPERATOR, STREAM, feed
from tests.support import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.topics.pull.tail import Part
    from relay.store.topics.pull.arrivals import Arrivals


async def next_ids(parts: AsyncIterator[Part], count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += [record.id for record in (await anext(parts)).events]
    return found


async def test_tail_shows_what_comes_and_resumes_after_a_position(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "before")
    tails = Tails(arrivals)
    parts = await tail(context, tails, CRM, Tail("support"))
    start = (await anext(parts)).position
    await feed(context.redis, "a")
    assert await next_ids(parts, 1) == ["a"]
    await feed(context.redis, "b", "c")
    assert await next_ids(parts, 2) == ["b", "c"]
    again = await tail(context, tails, CRM, Tail("support", after=start))
    assert await next_ids(again, 3) == ["a", "b", "c"]
    assert (await context.redis.xinfo_groups(STREAM)) == []


async def test_tail_since_a_time_with_filters(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a", body='{"data": {"from": "+15550001"}}')
    await feed(context.redis, "b", body='{"data": {"from": "+15550002"}}')
    await feed(context.redis, "c", event_type="reaction.added", body='{"data": {"from": "+15550002"}}')
    tails = Tails(arrivals)
    by_type = await tail(context, tails, CRM, Tail("support", since_ms=0, event_type="reaction.*"))
    assert await next_ids(by_type, 1) == ["c"]
    by_handle = await tail(context, tails, CRM, Tail("support", since_ms=0, handle="+15550002"))
    assert await next_ids(by_handle, 2) == ["b", "c"]
    part = await anext(await tail(context, tails, CRM, Tail("support", since_ms=0, line="+16465550199")))
    assert part.events == ()


async def test_tail_tells_of_trimmed_events(context: Context, arrivals: Arrivals) -> None:
    first, *_ = await feed(context.redis, "a", "b", "c")
    tails = Tails(arrivals)
    assert (await anext(await tail(context, tails, CRM, Tail("support", after=first)))).has_gap is False
    await context.redis.xtrim(STREAM, maxlen=1, approximate=False)
    parts = await tail(context, tails, CRM, Tail("support", after=first))
    assert (await anext(parts)).has_gap is True
    assert await next_ids(parts, 1) == ["c"]


async def test_tails_share_one_rate(arrivals: Arrivals) -> None:
    tails = Tails(arrivals, rate=1000)
    with tails.opened(), tails.opened():
        assert (tails.pause_after(100), tails.pause_after(1)) == (0.2, 0.01)


async def test_tail_of_nothing_or_of_others_is_refused(context: Context, arrivals: Arrivals) -> None:
    tails = Tails(arrivals)
    with pytest.raises(NotFound, match="known: support"):
        await tail(context, tails, CRM, Tail("sales"))
    with pytest.raises(Invalid, match="not the id of an entry"):
        await tail(context, tails, CRM, Tail("support", after="yesterday"))


async def test_listen_secret_is_stable_for_each_team_and_needs_the_key(context: Context) -> None:
    secret = await listen_secret(context, CRM)
    assert secret == await listen_secret(context, CRM) != await listen_secret(context, OPERATOR)
    assert secret.decoded is not None
    assert len(secret.decoded) == 32
    keyless = Context(context.settings.model_copy(update={"relay_secret_key": None}), context.redis, context.rules)
    with pytest.raises(Conflict, match="RELAY_SECRET_KEY"):
        await listen_secret(keyless, CRM)


async def test_listen_secret_of_a_former_team_is_not_that_of_a_new_one(context: Context) -> None:
    team, secrets = Principal("ops", "ops", EVERY_SCOPE, frozenset({"support"})), []
    for now in (1.0, 2.0):
        context = replace(context, clock=Clock(now))
        await create_team(context, OPERATOR, "ops", ["support"])
        secrets += [(await listen_secret(context, team)).text for _ in range(2)]
        await delete_team(context, OPERATOR, "ops")
    assert secrets[0] == secrets[1] != secrets[2] == secrets[3]
