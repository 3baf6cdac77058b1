"""Replays of a relay with four shards, as people see them: counted, started, listed and cancelled as one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.errors import Conflict, NotFound
from relay.core.event_filter import EventFilter
from relay.services.deliveries import replays
from relay.services.deliveries.replays import Request
from relay.services.deliveries.stored_subscriptions.sending import send_test
from relay.services.topics.events import story
from relay.services.topics.history.push import PushState
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from relay.store.topics.history import Extent, whole_extent
from relay.store.topics.registry import register_topics
from relay.store.topics.replays import Replays, State
from tests.services.conftest import CRM, OPERATOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context

T = 1_789_377_302_000
WHOLE = Extent(5, is_whole=True)


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
async def whole(context: Context, shards: Shards) -> Context:
    """One event of support on the first shard, two on the next one, and so on; none on the third."""
    for number, shard in enumerate(shards.all):
        await register_topics(shard, ["support"])
        for n in range(0 if number == 2 else number + 1):
            kind = "message.sent" if n else "message.received"
            fields: Any = {"id": f"e-{number}-{n}", "type": kind, "body": "{}"}
            await shard.xadd(shard.key.topic("support"), fields, f"{T + 10 * n + number}-0")
    return replace(context, redis=shards.home)


async def test_preview_counts_all_shards(whole: Context, shards: Shards) -> None:
    found = await replays.preview(whole, OPERATOR, Request("support", "crm-bot"))
    survey = found.survey
    assert (survey.events, survey.matching, survey.first_ms, survey.last_ms) == (7, 7, T, T + 33)
    assert (found.is_cut, found.extent.oldest_ms) == (False, T)
    sent = Request("support", "crm-bot", EventFilter("message.sent"), since_ms=T + 10, until_ms=T + 30)
    survey = (await replays.preview(whole, OPERATOR, sent)).survey
    assert (survey.events, survey.matching, survey.first_ms, survey.last_ms) == (3, 3, T + 11, T + 23)
    await shards.all[3].xtrim(shards.all[3].key.topic("support"), maxlen=1, approximate=False)
    found = await replays.preview(whole, OPERATOR, Request("support", "crm-bot"))
    assert (found.is_cut, found.oldest_ms, found.extent.oldest_ms) == (True, T, T + 33)


async def test_replay_is_one_row(whole: Context) -> None:
    started = await replays.start(whole, CRM, Request("support", "crm-bot"))
    assert (started.events, started.matching, started.seen, started.cursor) == (7, 7, 0, "0-0")
    assert started.span.end == f"{T + 33}-0.3"
    [row] = await replays.list_replays(whole, CRM)
    assert row.replay == started == (await replays.get(whole, CRM, started.id)).replay
    assert len(await replays.list_replays(whole, OPERATOR)) == 1


async def test_cancel_ends_all_parts(whole: Context, shards: Shards) -> None:
    started = await replays.start(whole, CRM, Request("support", "crm-bot"))
    cancelled = await replays.cancel(whole, CRM, started.id, "a mistake")
    assert (cancelled.state, cancelled.matching) == (State.CANCELLED, 7)
    states = [await Replays(shard).get(started.id) for shard in shards.all]
    assert [each and each.state for each in states] == [State.CANCELLED, State.CANCELLED, None, State.CANCELLED]
    with pytest.raises(Conflict, match="already ended: cancelled"):
        await replays.cancel(whole, CRM, started.id)
    with pytest.raises(NotFound):
        await replays.cancel(whole, CRM, "00000000")


async def test_story_of_a_test_event_is_found(whole: Context, shards: Shards) -> None:
    sent = await send_test(whole, OPERATOR, "crm-bot")
    assert await shards.home.xlen(shards.home.key.lane("crm-bot", "replay")) == 1
    [part] = (await story(whole, OPERATOR, sent.event_id)).push
    assert (part.subscription, part.state) == ("crm-bot", PushState.REPLAYING)


async def test_nothing_to_replay_on_any_shard(whole: Context) -> None:
    with pytest.raises(Conflict, match="none of the 7 events"):
        await replays.start(whole, OPERATOR, Request("support", "crm-bot", EventFilter("poll.*")))
    with pytest.raises(Conflict, match="no events in that period"):
        await replays.start(whole, OPERATOR, Request("support", "crm-bot", until_ms=T - 1))


def cut(oldest: int | None) -> Extent:
    return Extent(oldest, is_whole=False)


@pytest.mark.parametrize(
    ("parts", "expected", "reaches"),
    [
        ([WHOLE, Extent(None, is_whole=True)], WHOLE, True),
        ([WHOLE, cut(9), cut(7)], Extent(9, is_whole=False), False),
        ([WHOLE, cut(None)], Extent(None, is_whole=False), False),
    ],
)
def test_topic_is_kept_from_where_every_shard_keeps_it(parts: list[Extent], expected: Extent, *, reaches: bool) -> None:
    whole = whole_extent(parts)
    assert whole == expected
    assert whole.reaches(None) is reaches
    assert whole.reaches(9) is (reaches or expected.oldest_ms == 9)
    assert whole.reaches(8) is reaches
