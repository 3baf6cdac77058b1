"""Shards: the same answers to each copy of an event as with one, and on a cluster a primary for each."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from relay.config.variable_forms import key_prefix
from relay.core.event import Dialect, VerifiedWebhook
from relay.linq.payloads.shard_key import read_head, shard_key_in
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.fixed_keys import shard_prefix
from relay.store.inbox.acceptor import Acceptor
from relay.store.keys import Keyspace
from relay.store.sharding.shards import open_shards
from tests.building import LINE, OTHER_LINE, body_of, webhook_of
from tests.clusters import clusters
from tests.linq.payloads.test_fields_of_samples import SAMPLES
from tests.support import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relay.store.driver.client import Redis
    from relay.store.sharding.shards import Shards


def copies_of(body: bytes) -> list[VerifiedWebhook]:
    """Return the webhooks that can bring an event: other URLs, generations, accounts; and retries written anew."""
    head = read_head(body)
    envelope = json.loads(body)
    of = VerifiedWebhook(head.event_id, head.event_type, Dialect(envelope["api_version"]), head.event_id, LINE, body)
    anew = json.dumps(envelope, indent=1).encode()
    copies = [of._replace(line=line, account=account) for line in (LINE, OTHER_LINE, None) for account in (None, "a")]
    return [*copies, of._replace(generation=2), of._replace(body=anew), of._replace(line=None, body=anew)]


async def accept(shards: Shards, webhooks: Iterable[VerifiedWebhook]) -> list[bool]:
    """Accept webhooks, each in its shard, one after the other."""
    async with AsyncExitStack() as stack:
        acceptors = {
            shard.key.name: await stack.enter_async_context(Acceptor(shard, 60.0, time.time)) for shard in shards.all
        }
        answers = []
        for webhook in webhooks:
            shard = shards.of(shard_key_in(webhook.dialect, webhook.body))
            answers.append(await acceptors[shard.key.name].accept(webhook))
        return answers


async def stored(shards: Shards) -> list[list[str]]:
    """Return the ids in the inbox of each shard."""
    rows = [await shard.xrange(shard.key.inbox) for shard in shards.all]
    return [[fields[b"id"].decode() for _, fields in entries] for entries in rows]


def test_first_shard_has_the_names_of_a_relay_without_shards() -> None:
    assert shard_prefix("ours", 0) == "ours"
    assert Keyspace.tagged(shard_prefix("ours", 2)).inbox == "{ours/2}:inbox"


def test_no_relay_can_have_the_prefix_of_a_shard() -> None:
    with pytest.raises(ValueError, match="it must have"):
        key_prefix(shard_prefix("ours", 1))


async def test_copies_get_the_same_answers_as_with_one_shard(redis: Redis, redis_url: str) -> None:
    webhooks = [copy for path in sorted(SAMPLES.iterdir()) for copy in copies_of(path.read_bytes())]
    answers, accepted = [], []
    for count in (1, 3, 8):
        await redis.flushall()
        async with open_shards(redis_url, TIMEOUT, count=count) as shards:
            answers.append(await accept(shards, webhooks))
            inboxes = await stored(shards)
        accepted.append(sorted(event for inbox in inboxes for event in inbox))
        assert all(inboxes) or count == 8
    assert answers[0] == answers[1] == answers[2]
    assert accepted[0] == accepted[1] == accepted[2]


async def test_shards_share_a_server_by_their_prefixes(redis: Redis, redis_url: str) -> None:
    async with open_shards(redis_url, WORKER_TIMEOUT, "ours", 3) as shards:
        await accept(shards, [of_chat(f"chat-{number}") for number in range(30)])
        assert shards.home.key.inbox == "ours:inbox"
        assert [len(inbox) for inbox in await stored(shards)] == [
            await redis.xlen(name) for name in ("ours:inbox", "ours/1:inbox", "ours/2:inbox")
        ]


@pytest.mark.slow
async def test_each_shard_of_a_cluster_is_on_the_primary_of_its_slot(tmp_path: Path) -> None:
    async with (
        clusters(tmp_path / "servers", replicas=0) as cluster,
        open_shards(cluster.url, WORKER_TIMEOUT, count=4) as shards,
    ):
        webhooks = [of_chat(f"chat-{number}") for number in range(40)]
        assert await accept(shards, webhooks * 2) == [True] * 40 + [False] * 40
        inboxes = await stored(shards)
        assert sorted(event for inbox in inboxes for event in inbox) == sorted(webhook.id for webhook in webhooks)
        assert all(inboxes)
        owners = [await cluster.owner(key_slot(shard.key.name.encode())) for shard in shards.all]
        assert len(set(owners)) > 1
        for shard, owner in zip(shards.all, owners, strict=True):
            slot = key_slot(shard.key.name.encode())
            names = [key async for key in shard.scan_iter("*") if key_slot(key) == slot]
            assert await cluster.command(owner, "CLUSTER", "COUNTKEYSINSLOT", slot) == len(names) > 0


def of_chat(chat: str) -> VerifiedWebhook:
    """Return a new event of a chat."""
    webhook = webhook_of()
    return webhook._replace(body=body_of(event_id=webhook.id, chat_id=chat))
