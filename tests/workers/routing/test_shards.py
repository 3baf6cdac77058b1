"""Two shards with a router each: a topic is in two parts, which have each event once and each chat whole."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from relay.linq.payloads.shard_key import shard_key_in
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import open_shards
from tests.building import LINE, OTHER_LINE, body_of, webhook_of
from tests.support import eventually
from tests.workers.conftest import accept, emptied, routing, topic

if TYPE_CHECKING:
    from relay.config.file import ConfigFile
    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis
    from relay.store.sharding.shards import Shards

CHATS = [f"chat-{number}" for number in range(12)]


def of_chat(event_type: str, chat: str, line: str | None, **data: object) -> VerifiedWebhook:
    """Return a new event of a chat, over the URL of a line or of the account."""
    webhook = webhook_of(event_type, line)
    return webhook._replace(body=body_of(event_type, webhook.id, chat_id=chat, **data))


async def route(shards: Shards, rules: ConfigFile, webhooks: list[VerifiedWebhook]) -> None:
    """Accept webhooks, each in its shard and in this order, and route them."""
    shard_of = {webhook: shards.of(shard_key_in(webhook.dialect, webhook.body)) for webhook in webhooks}
    for shard in shards.all:
        for webhook in webhooks:
            if shard_of[webhook] is shard:
                await accept(shard, webhook)
    async with AsyncExitStack() as stack:
        for shard in shards.all:
            await stack.enter_async_context(routing(shard, rules))
        for shard in shards.all:
            await eventually(partial(emptied, shard))


async def test_parts_of_a_topic_have_each_event_once_and_each_chat_whole(
    redis: Redis, redis_url: str, rules: ConfigFile
) -> None:
    webhooks = [of_chat("message.received", chat, LINE) for _ in range(5) for chat in CHATS]
    twice = [copy for webhook in webhooks for copy in (webhook, webhook._replace(line=None))]
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as shards:
        await route(shards, rules, twice)
        parts = [await topic(shard, "messages") for shard in shards.all]
    assert sorted(entry["id"] for part in parts for entry in part) == sorted(webhook.id for webhook in webhooks)
    chats = [{entry["chat"] for entry in part} for part in parts]
    assert all(chats)
    assert chats[0].isdisjoint(chats[1])
    sent = {webhook.id: place for place, webhook in enumerate(webhooks)}
    for part in parts:
        by_chat = groupby(sorted(part, key=lambda entry: entry["chat"]), key=lambda entry: entry["chat"])
        for _, entries in by_chat:  # sorted is stable: in the order of the stream
            places = [sent[entry["id"]] for entry in entries]
            assert places == sorted(places)
    assert {key.split(b":")[0] for key in await redis.keys("*") if not key.startswith(b"arq")} == {b"relay", b"relay/1"}


async def test_shard_knows_the_line_of_its_chats(redis: Redis, redis_url: str, rules: ConfigFile) -> None:
    """An event without a line gets the one that another event of its chat has proved, on the same shard."""
    del redis
    lines = {chat: (LINE, OTHER_LINE)[number % 2] for number, chat in enumerate(CHATS)}
    proving = [of_chat("message.received", chat, None, owner_handle=line) for chat, line in lines.items()]
    without = [of_chat("message.failed", chat, None) for chat in CHATS]
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as shards:
        await route(shards, rules, proving + without)
        entries = [entry for shard in shards.all for entry in await topic(shard, "everything")]
    found = {entry["id"]: entry.get("line") for entry in entries}
    assert [found[webhook.id] for webhook in without] == list(lines.values())


async def test_routers_of_two_shards_hold_leases_of_their_own(redis_url: str, rules: ConfigFile) -> None:
    async with (
        open_shards(redis_url, WORKER_TIMEOUT, count=2) as shards,
        routing(shards.all[0], rules) as first,
        routing(shards.all[1], rules) as second,
    ):
        assert first.token != second.token
