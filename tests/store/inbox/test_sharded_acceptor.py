"""Each event goes to the inbox of its shard, also while the relay grows; a shard that is away delays no other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreUnavailable
from relay.linq.payloads.shard_key import shard_key_in
from relay.process.timings import DEFAULTS
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.inbox.former_claims import FormerClaims, FormerUnavailable
from relay.store.inbox.waiting_room import Room
from relay.store.keys import Keyspace
from relay.store.sharding.growth.fence import advance, prepare_fences
from relay.store.sharding.growth.state import decide, note_growth, read_growth
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import Shards, open_shards
from tests.accepting import WINDOW, accepting
from tests.building import webhook_in_chat
from tests.support import eventually, hash_of, reserve_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis

HASTY = replace(DEFAULTS, accept_wait=0.3, accept_attempt=0.2)
CHATS = [f"chat-{number}" for number in range(40)]


def of_shard(shards: Shards, shard: Redis) -> VerifiedWebhook:
    """Return a new event of a chat of this shard."""
    webhooks = (webhook_in_chat(f"chat-{number}") for number in range(1000))
    return next(each for each in webhooks if shards.of(shard_key_in(each.dialect, each.body)) is shard)


async def ids_in(shard: Redis) -> list[str]:
    return [fields[b"id"].decode() for _, fields in await shard.xrange(shard.key.inbox)]


async def counted(shards: Shards, name: str) -> int:
    return sum([int((await hash_of(shard, shard.key.counts)).get(name, 0)) for shard in shards.all])


async def test_event_is_in_the_inbox_of_its_shard_once(redis: Redis, redis_url: str) -> None:
    del redis
    async with (
        open_shards(redis_url, REQUEST_TIMEOUT, count=3) as shards,
        accepting(shards.all, Room().share(3)) as acceptor,
    ):
        expected = {shard.key.name: of_shard(shards, shard) for shard in shards.all}
        answers = await asyncio.gather(*(acceptor.accept(webhook) for webhook in expected.values() for _ in range(9)))
        assert (answers.count(True), answers.count(False)) == (3, 24)
        for shard in shards.all:
            assert await ids_in(shard) == [expected[shard.key.name].id]
            counts = await hash_of(shard, shard.key.counts)
            assert (counts["accepted"], counts["duplicate"]) == ("1", "8")
            assert await shard.zcard(shard.key.queue) == 1


async def test_shards_of_a_plain_redis_share_their_batches(redis: Redis, redis_url: str) -> None:
    async with (
        open_shards(redis_url, REQUEST_TIMEOUT, count=3) as shards,
        accepting(shards.all) as acceptor,
    ):
        assert await acceptor.accept(webhook_in_chat("first")) is True  # its script is loaded, and the placement known
        before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        webhooks = [of_shard(shards, shard) for shard in shards.all for _ in range(5)]
        assert all(await asyncio.gather(*map(acceptor.accept, webhooks)))
        assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 1


async def test_damaged_shard_refuses_its_own_events_only(redis: Redis, redis_url: str) -> None:
    async with (
        open_shards(redis_url, REQUEST_TIMEOUT, count=3) as shards,
        accepting(shards.all) as acceptor,
    ):
        damaged = shards.all[1]
        await redis.set(damaged.key.inbox, "not ours")
        webhooks = [of_shard(shards, shard) for shard in shards.all]
        first, refused, last = await asyncio.gather(*map(acceptor.accept, webhooks), return_exceptions=True)
        assert (first, last) == (True, True)
        assert isinstance(refused, StoreUnavailable)
        assert "WRONGTYPE relay/1:inbox is a string" in str(refused)
        assert await redis.exists(f"{damaged.key.seen_prefix}{webhooks[1].id}") == 0
        await redis.delete(damaged.key.inbox)
        assert await acceptor.accept(webhooks[1]) is True


async def test_shard_that_does_not_answer_delays_no_other_of_a_cluster(redis: Redis, redis_url: str) -> None:
    async with (
        open_redis(redis_url, REQUEST_TIMEOUT) as works,
        open_redis(f"redis://127.0.0.1:{reserve_port()}", REQUEST_TIMEOUT, "relay/1") as fails,
    ):
        works.others = (fails,)
        works.key, fails.key = Keyspace.tagged("relay"), Keyspace.tagged("relay/1")
        async with accepting((works, fails), Room(webhooks=2).share(2), HASTY) as acceptor:
            shards = Shards((works, fails))
            refused = asyncio.create_task(acceptor.accept(of_shard(shards, fails)))
            await eventually(lambda: not acceptor.redis_answers)
            with pytest.raises(StoreUnavailable, match="wait for Redis already"):
                await acceptor.accept(of_shard(shards, fails))
            assert await acceptor.accept(of_shard(shards, works)) is True
            assert not refused.done()
            with pytest.raises(StoreUnavailable):
                await refused
        assert await redis.xlen(works.key.inbox) == 1


@pytest.mark.parametrize(("parts", "share"), [(1, Room(8, 100)), (3, Room(2, 33)), (200, Room(1, 1))])
def test_rooms_divide_the_limits(parts: int, share: Room) -> None:
    assert Room(8, 100).share(parts) == share


@pytest.fixture
async def growing(redis: Redis, redis_url: str) -> AsyncIterator[Shards]:
    """Four shards, of which two are in use."""
    del redis
    async with open_shards(redis_url, REQUEST_TIMEOUT, count=2) as former:
        await require_number_of_shards(former.home)
    async with open_shards(redis_url, REQUEST_TIMEOUT, count=4) as shards:
        await prepare_fences(shards.all, 2)
        await note_growth(shards.home, 2, 4, 1000)
        yield shards


async def switch(shards: Shards) -> None:
    """Decide, as `relay shards apply` does before it is killed."""
    growth = await read_growth(shards.home)
    assert growth is not None
    await decide(shards.home, growth, 2000)


async def is_placed(shards: Shards, number: int, webhooks: Sequence[VerifiedWebhook]) -> bool:
    """Return True if each event is on its shard, of so many."""
    placed = Shards(shards.all[:number])
    found = {event_id: shard for shard in shards.all for event_id in await ids_in(shard)}
    return all(found.get(each.id) is placed.of(shard_key_in(each.dialect, each.body)) for each in webhooks)


async def test_two_ingresses_switch_at_different_moments_without_a_repeat(growing: Shards) -> None:
    """The second has not heard of the switch: what it has placed by the former number is refused, and placed again."""
    before = [webhook_in_chat(chat) for chat in CHATS]
    after = [webhook_in_chat(chat) for chat in CHATS]
    async with accepting(growing.all) as first, accepting(growing.all) as second:
        assert all(await asyncio.gather(*map(first.accept, before)))
        assert await is_placed(growing, 2, before)
        await switch(growing)
        assert not any(await asyncio.gather(*map(second.accept, before)))  # not fenced yet: as before
        await advance(growing.all, 2, 4, 3000)
        answers = await asyncio.gather(*(one.accept(each) for one in (second, first) for each in after))
        assert answers.count(True) == len(after)
        assert not any(await asyncio.gather(*(one.accept(each) for one in (second, first) for each in before)))
    assert await is_placed(growing, 4, after)
    assert await is_placed(growing, 2, before)
    assert await counted(growing, "accepted") == len(before) + len(after)
    assert await counted(growing, "duplicate") == 4 * len(before)


async def test_events_in_flight_at_the_switch_are_accepted_once(growing: Shards) -> None:
    webhooks = [webhook_in_chat(f"{chat}-{number}") for chat in CHATS for number in range(10)]
    async with accepting(growing.all) as first, accepting(growing.all) as second:
        accepted = [asyncio.create_task(one.accept(each)) for each in webhooks for one in (first, second)]
        await switch(growing)
        await advance(growing.all, 2, 4, 3000)
        answers = await asyncio.gather(*accepted)
    assert answers.count(True) == len(webhooks)
    ids = [event_id for shard in growing.all for event_id in await ids_in(shard)]
    assert sorted(ids) == sorted(each.id for each in webhooks)


async def test_repeat_is_found_on_the_former_shard_by_owner_or_content(growing: Shards) -> None:
    moved = next(each for each in map(webhook_in_chat, CHATS) if is_moving(growing, each))
    other_url = moved._replace(line="+16465550199")
    other_event = other_url._replace(body=moved.body + b" ")
    async with accepting(growing.all) as acceptor:
        assert await acceptor.accept(moved) is True
        await switch(growing)
        await advance(growing.all, 2, 4, 3000)
        assert await acceptor.accept(webhook_in_chat("any")) is True
        assert await acceptor.accept(moved._replace(body=moved.body + b" ")) is False
        assert await acceptor.accept(other_url) is False
        assert await acceptor.accept(other_event) is True
        assert await acceptor.accept(other_event) is False


async def test_former_shard_that_is_away_for_a_moment_is_waited_for(
    growing: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = next(each for each in map(webhook_in_chat, CHATS) if is_moving(growing, each))
    tries = 0
    original = FormerClaims.have

    async def have(claims: FormerClaims, webhook: VerifiedWebhook) -> bool:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise FormerUnavailable("it fails over")
        return await original(claims, webhook)

    async with accepting(growing.all) as acceptor:
        assert await acceptor.accept(moved) is True
        await switch(growing)
        await advance(growing.all, 2, 4, 3000)
        monkeypatch.setattr(FormerClaims, "have", have)
        assert await acceptor.accept(moved) is False
    assert tries == 3


async def test_former_shard_is_not_asked_after_the_dedupe_window(growing: Shards) -> None:
    moved = next(each for each in map(webhook_in_chat, CHATS) if is_moving(growing, each))
    now = 10.0
    async with accepting(growing.all, clock=lambda: now) as acceptor:
        assert await acceptor.accept(moved) is True
        await switch(growing)
        await advance(growing.all, 2, 4, 3000)
        assert await acceptor.accept(webhook_in_chat("any")) is True  # it has heard of the switch
        now += WINDOW + 1
        assert await acceptor.accept(moved) is True


def is_moving(shards: Shards, webhook: VerifiedWebhook) -> bool:
    key = shard_key_in(webhook.dialect, webhook.body)
    return Shards(shards.all[:2]).of(key) is not shards.of(key)


async def test_ingress_with_the_former_number_refuses_at_once(growing: Shards, redis_url: str) -> None:
    async with open_shards(redis_url, REQUEST_TIMEOUT, count=2) as former, accepting(former.all) as acceptor:
        assert await acceptor.accept(webhook_in_chat("before")) is True
        await switch(growing)
        await advance(growing.all, 2, 4, 3000)
        with pytest.raises(StoreUnavailable, match="it is 2, but the relay has 4"):
            await acceptor.accept(webhook_in_chat("after"))


async def test_ingress_that_starts_without_redis_places_nothing_until_it_answers() -> None:
    url = f"redis://127.0.0.1:{reserve_port()}"
    async with open_shards(url, REQUEST_TIMEOUT, count=2) as shards, accepting(shards.all, timings=HASTY) as acceptor:
        assert acceptor.redis_answers is False
        with pytest.raises(StoreUnavailable, match="did not tell the number of shards"):
            await acceptor.accept(webhook_in_chat("any"))
