"""An ingress with one shard and with four: each event once, on the shard of its chat, over whichever URL it comes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from relay.core.sharding.placement import ShardKey
from relay.linq.signatures import standard
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.inbox.memory_guard import MemoryGuard
from relay.store.sharding.shards import Shards, open_shards
from tests.building import OTHER_SECRET, SECRET, body_of, signed
from tests.conftest import NOW
from tests.web.conftest import settings_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.config.settings import Settings
    from tests.web.conftest import Running

LINES = (("line=16465550123", SECRET), ("line=16465550124", OTHER_SECRET))
CHATS = [f"dialog-{number}" for number in range(12)]


@pytest.fixture(params=[1, 4])
def settings(request: pytest.FixtureRequest, redis_url: str) -> Settings:
    return settings_at(redis_url).model_copy(update={"relay_shards": request.param})


@pytest.fixture
async def shards(settings: Settings, redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=settings.relay_shards) as shards:
        yield shards


async def test_each_event_is_on_the_shard_of_its_chat_once(ingress: Running, shards: Shards) -> None:
    bodies = {chat: [body_of(event_id=f"{chat}-{n}", chat_id=chat) for n in range(3)] for chat in CHATS}
    for body in [body for of_chat in bodies.values() for body in of_chat]:
        for query, secret in LINES:
            assert (await ingress.post(body, signed(body, NOW, secret), query)).status == 200
    found: Counter[str] = Counter()
    for shard in shards.all:
        for _, fields in await shard.xrange(shard.key.inbox):
            chat, _, _ = fields[b"id"].decode().rpartition("-")
            assert shards.of(ShardKey("", chat)) is shard
            found[chat] += 1
    assert found == dict.fromkeys(CHATS, 3)
    counts = [await shard.hgetall(shard.key.counts) for shard in shards.all]  # type: ignore[misc]
    assert (
        sum(int(each.get(b"accepted", 0)) for each in counts)
        == sum(int(each.get(b"duplicate", 0)) for each in counts)
        == 36
    )


async def test_body_without_a_key_is_in_the_quarantine_of_the_first_shard(ingress: Running, shards: Shards) -> None:
    body = b"not json"
    assert (await ingress.post(body, standard.sign(SECRET, "x", int(NOW), body))).status == 200
    assert [await shard.xlen(shard.key.quarantine) for shard in shards.all] == [1] + [0] * (len(shards.all) - 1)


async def test_full_shard_refuses_its_own_events(
    ingress: Running, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(shards.all) == 1:
        pytest.skip("the memory of one shard has tests of its own")
    guard = MemoryGuard(shards.all[1])  # as on a cluster
    guard.refusal = "Redis is nearly full"
    monkeypatch.setattr(ingress.parts.acceptor, "_guards", {1: guard})
    for chat in CHATS:
        body = body_of(chat_id=chat)
        is_refused = shards.of(ShardKey("", chat)) is shards.all[1]
        assert (await ingress.post(body, signed(body, NOW))).status == (503 if is_refused else 200)


async def test_memory_of_one_server_has_one_guard(ingress: Running, shards: Shards) -> None:
    if len(shards.all) == 1:
        pytest.skip("one shard has one acceptor, without guards of its own")
    assert not ingress.parts.acceptor._guards  # type: ignore[union-attr]


async def test_nothing_is_accepted_before_the_number_of_shards_is_known(ingress: Running, shards: Shards) -> None:
    number = ingress.parts.number
    number.refusal = "the number of shards has not been read yet"
    body = body_of(chat_id=CHATS[0])
    assert (await ingress.post(body, signed(body, NOW))).status == 503
    assert [await shard.xlen(shard.key.inbox) for shard in shards.all] == [0] * len(shards.all)
    number.refusal = None
    assert (await ingress.post(body, signed(body, NOW))).status == 200
