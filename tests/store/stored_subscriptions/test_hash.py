from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import NoPermissionError

from relay.core.errors import ChangedMeanwhile, NotFound
from relay.rules.sources import StoredSources
from relay.store.lanes.lane import Lane
from relay.store.rights.rules import relay_rule, viewer_rule
from relay.store.stored_subscriptions.hash import StoredSubscriptions
from relay.store.topics.samples import append_sample
from tests.rules.storing import record_of, store
from tests.store.rights.test_check import user_with
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


async def test_rights_of_the_relay_and_of_a_viewer_are_sufficient(redis: Redis, redis_url: str) -> None:
    async with user_with(redis, redis_url, *str(relay_rule(KEYS)).split()) as client:
        await store(client, record_of("crm"))
        await Lane(client, "crm", "messages").ensure()
        assert await append_sample(client, "crm", "messages", ["id", "test_1"], 0)
        await StoredSources(client).read()
        assert await StoredSubscriptions(client).forget("crm")
        await store(client, record_of("crm"))
    async with user_with(redis, redis_url, *str(viewer_rule(KEYS)).split()) as client:
        sources = StoredSources(client)
        await sources.read()
        assert list(sources.rows) == [b"crm"]
        with pytest.raises(NoPermissionError):
            await StoredSubscriptions(client).forget("crm")


async def test_write_needs_the_version_that_is_stored(redis: Redis) -> None:
    stored, record = StoredSubscriptions(redis), record_of("crm")
    with pytest.raises(NotFound):
        await stored.put(record, 1)
    await stored.put(record, 0)
    with pytest.raises(ChangedMeanwhile):
        await stored.put(record, 0)
    with pytest.raises(ChangedMeanwhile):
        await stored.put(record, 2)
    assert not await stored.forget("crm", 2)
    assert await stored.forget("crm", 1)
    assert not await stored.forget("crm")


async def test_unchanged_sources_cost_no_read_of_the_records(redis: Redis) -> None:
    await store(redis, record_of("crm"))
    sources = StoredSources(redis)
    await sources.read()
    assert sources.version == 1
    before = (await redis.info("commandstats"))["cmdstat_hgetall"]["calls"]
    await sources.read()
    assert sources.version == 1
    calls = (await redis.info("commandstats"))["cmdstat_hgetall"]["calls"] - before
    assert calls == 1  # of the teams
