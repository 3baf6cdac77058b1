"""Quarantined webhooks of one shard and of four: a retry accepts each once, on the shard of its chat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from relay.core.event import Dialect
from relay.core.event_filter import EventFilter
from relay.core.sharding.placement import ShardKey
from relay.services.operators import quarantine
from relay.services.operators.quarantine import Retried
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.inbox.audit import InboxAudit
from relay.store.inbox.quarantine import Quarantine
from relay.store.rights.rules import viewer_rule
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import Shards, open_shards
from tests.building import LINE, body_of, webhook_of
from tests.services.conftest import OPERATOR
from tests.workers.conftest import accept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context

ALL = EventFilter()
CHATS = [f"dialog-{number}" for number in range(12)]


@pytest.fixture(params=[1, 4])
async def shards(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=request.param) as shards:
        await require_number_of_shards(shards.home)
        yield shards


@pytest.fixture
async def quarantined(context: Context, shards: Shards) -> Context:
    """A body of each chat in the quarantine of the first shard, as if an older ingress could not read it."""
    for chat in CHATS:
        await Quarantine(shards.home).put(Dialect.V3, LINE, body_of(event_id=chat, chat_id=chat), "too modern", 1000)
    await Quarantine(shards.home).put(Dialect.V3, LINE, b"not json", "not JSON", 1000)
    return replace(context, redis=shards.home)


async def inboxes(shards: Shards) -> dict[str, list[str]]:
    """Return the ids in the inbox of each shard."""
    return {
        shard.key.inbox: [fields[b"id"].decode() for _, fields in await shard.xrange(shard.key.inbox)]
        for shard in shards.all
    }


async def losses(shards: Shards) -> list[str]:
    """Return what the audits of the shards find wrong."""
    with capture_logs() as logs:
        for shard in shards.all:
            await InboxAudit(shard).run()
    return [str(entry) for entry in logs]


async def test_retry_accepts_each_event_once_on_the_shard_of_its_chat(quarantined: Context, shards: Shards) -> None:
    known = webhook_of(event_id=CHATS[0])._replace(body=body_of(event_id=CHATS[0], chat_id=CHATS[0]), line=None)
    await accept(shards.of(ShardKey("", CHATS[0])), known)
    assert await quarantine.retry(quarantined, OPERATOR, ALL) == Retried(11, 1, 1)
    assert await quarantine.retry(quarantined, OPERATOR, ALL) == Retried(0, 0, 1)
    found = await inboxes(shards)
    assert {chat: inbox for inbox, chats in found.items() for chat in chats} == {
        chat: shards.of(ShardKey("", chat)).key.inbox for chat in CHATS
    }
    assert sum(map(len, found.values())) == 12
    assert await losses(shards) == []


async def test_dry_run_needs_only_the_rights_of_a_viewer(quarantined: Context, shards: Shards, redis_url: str) -> None:
    rule = str(viewer_rule(*(shard.key for shard in shards.all)))
    await shards.home.execute_command("ACL", "SETUSER", "viewer", "reset", "on", ">secret", *rule.split())  # type: ignore[no-untyped-call]
    url = f"redis://viewer:secret@127.0.0.1:{urlsplit(redis_url).port}/0"
    try:
        async with open_shards(url, WORKER_TIMEOUT, count=len(shards.all)) as seen:
            viewing = replace(quarantined, redis=seen.home)
            assert await quarantine.retry(viewing, OPERATOR, ALL, dry_run=True) == Retried(12, 0, 1)
    finally:
        await shards.home.acl_deluser("viewer")


async def test_retry_that_was_interrupted_between_shards_repeats_nothing(quarantined: Context, shards: Shards) -> None:
    rows = await shards.home.xrange(shards.home.key.quarantine)
    assert await quarantine.retry(quarantined, OPERATOR, ALL) == Retried(12, 0, 1)
    for _, fields in rows[:-1]:  # what would still be there
        await Quarantine(shards.home).put(Dialect.V3, LINE, fields[b"body"], "too modern", 1000)
    assert await quarantine.retry(quarantined, OPERATOR, ALL) == Retried(0, 12, 1)
    assert sum(map(len, (await inboxes(shards)).values())) == 12
    assert await losses(shards) == []


async def test_bodies_of_all_shards_are_found_shown_and_dropped(quarantined: Context, shards: Shards) -> None:
    for shard in shards.all[1:]:
        await Quarantine(shard).put(Dialect.V3, LINE, b"of a router", "broken", 2000)
    first = await quarantine.search(quarantined, OPERATOR, limit=10)
    rest = await quarantine.search(quarantined, OPERATOR, cursor=first.next, limit=10)
    bodies = [*first.items, *rest.items]
    assert len(bodies) == 12 + len(shards.all)
    assert await quarantine.get(quarantined, OPERATOR, bodies[-1].entry) == bodies[-1]
    assert await quarantine.drop(quarantined, OPERATOR, ALL, "test") == len(bodies)
    assert await losses(shards) == []
