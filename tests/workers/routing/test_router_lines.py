"""The line of an event: from the URL or the payload, else the learned line of its chat."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

import tests.linq
from relay.core.event import Dialect, VerifiedWebhook
from relay.store.driver.client import WORKER_TIMEOUT, open_redis
from tests.bootstrap.redis_proxy import proxy_to
from tests.building import CUSTOMER, LINE, OTHER_LINE, body_of
from tests.support import KEYS, eventually, hash_of
from tests.workers.conftest import TIMINGS, accept, emptied, routing, topic
from workers.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis

SAMPLES = Path(tests.linq.__file__).parent / "payloads" / "samples"


def sample(name: str, line: str | None = None, event_id: str | None = None) -> VerifiedWebhook:
    """Return a documented payload of Linq as a webhook, through a URL of `line` or without one."""
    envelope = json.loads((SAMPLES / f"{name}.json").read_bytes())
    envelope["event_id"] = event_id or name
    dialect = Dialect(envelope["api_version"])
    return VerifiedWebhook(
        envelope["event_id"],
        envelope["event_type"],
        dialect,
        envelope["event_id"],
        line,
        json.dumps(envelope).encode(),
    )


def v3(event_id: str, event_type: str, line: str | None = None, **data: object) -> VerifiedWebhook:
    return VerifiedWebhook(event_id, event_type, Dialect.V3, event_id, line, body_of(event_type, event_id, **data))


async def routed(redis: Redis, rules: ConfigFile, *webhooks: VerifiedWebhook) -> None:
    await accept(redis, *webhooks)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))


async def lines(redis: Redis, name: str = "everything") -> Mapping[str, str]:
    """Return the line of each event in a topic, by the event's id, in the topic's order."""
    return {entry["id"]: entry["line"] for entry in await topic(redis, name)}


@pytest.fixture
def rules_file(rules_file: Path) -> Path:
    with rules_file.open("a") as file:
        file.write(f'\n[[topics]]\nname = "support"\nevents = ["*"]\nlines = ["{LINE}"]\n')
    return rules_file


@pytest.mark.parametrize("one_batch", [True, False])
async def test_v2_event_without_line_gets_that_of_its_learned_chat(
    redis: Redis,
    rules: ConfigFile,
    one_batch: bool,  # noqa: FBT001
) -> None:
    unknown, message, read = (
        sample("v2-message.read", event_id="too-early"),
        sample("v2-message.received"),
        sample("v2-message.read"),
    )
    for webhooks in [(unknown, message, read)] if one_batch else [(unknown,), (message,), (read,)]:
        await routed(redis, rules, *webhooks)
    assert await lines(redis) == {"too-early": "", "v2-message.received": LINE, "v2-message.read": LINE}
    assert list(await lines(redis, "support")) == ["v2-message.received", "v2-message.read"]


async def test_restarted_router_knows_chats_that_another_learned(redis: Redis, rules: ConfigFile) -> None:
    first, second = (Router(redis, rules, time.time, TIMINGS) for _ in range(2))
    events = (v3("1", "message.sent", LINE), v3("2", "message.sent", OTHER_LINE), v3("3", "message.failed"))
    for router, event in zip((first, second, first), events, strict=True):
        await accept(redis, event)
        async with routing(redis, rules, router):
            await eventually(lambda: emptied(redis))
    assert await lines(redis) == {"1": LINE, "2": OTHER_LINE, "3": OTHER_LINE}


@pytest.mark.parametrize("url_line", [LINE, None])
async def test_v3_event_without_line_gets_that_of_its_chat(
    redis: Redis, rules: ConfigFile, url_line: str | None
) -> None:
    names_only_a_chat = ["v3-message.failed", "v3-chat.typing_indicator.started", "v3-reaction.added"]
    await routed(redis, rules, sample("v3-message.received", url_line), *map(sample, names_only_a_chat))
    assert await lines(redis, "support") == dict.fromkeys(["v3-message.received", *names_only_a_chat], LINE)


async def test_topics_tell_how_each_line_was_proved(redis: Redis, rules: ConfigFile) -> None:
    named: Any = {"chat": {"id": "c1", "owner_handle": {"handle": LINE, "is_me": True}}}
    events = [
        v3("by-url", "message.received", LINE, chat_id="c1")._replace(generation=3, remote="203.0.113.7"),
        v3("by-payload", "message.received", **named)._replace(generation=1, remote="2001:db8::7"),
        v3("by-chat", "message.failed", chat_id="c1"),
        v3("unknown", "message.failed", chat_id="c2"),
    ]
    await routed(redis, rules, *events)
    assert {entry["id"]: entry["via"] for entry in await topic(redis, "everything")} == {
        "by-url": "url 3 203.0.113.7",
        "by-payload": "payload 1 2001:db8::7",
        "by-chat": "chat 0 -",
        "unknown": "none 0 -",
    }


async def test_url_line_wins_over_chat_line_and_is_learned(redis: Redis, rules: ConfigFile) -> None:
    await routed(redis, rules, v3("1", "message.sent", LINE), v3("2", "message.failed", OTHER_LINE))
    await routed(redis, rules, v3("3", "message.failed"))
    assert await lines(redis) == {"1": LINE, "2": OTHER_LINE, "3": OTHER_LINE}


async def test_payload_line_wins_over_chat_line(redis: Redis, rules: ConfigFile) -> None:
    owner = {"id": "chat-1", "owner_handle": {"handle": OTHER_LINE, "is_me": True}}
    await routed(redis, rules, v3("1", "message.sent", LINE), v3("2", "message.received", chat=owner))
    assert await lines(redis) == {"1": LINE, "2": OTHER_LINE}


async def test_v2_chat_does_not_teach_a_v3_chat(redis: Redis, rules: ConfigFile) -> None:
    await routed(redis, rules, sample("v2-message.received"), v3("3", "message.failed", chat_id="771204"))
    assert (await lines(redis))["3"] == ""


async def test_customer_number_is_never_learned(redis: Redis, rules: ConfigFile) -> None:
    theirs = {"handle": CUSTOMER, "is_me": False}
    await routed(
        redis,
        rules,
        v3("1", "reaction.added", is_from_me=False, from_handle=theirs, **{"from": CUSTOMER}),
        v3("2", "participant.added", participant=theirs, handle=CUSTOMER),
        v3("3", "message.received", chat={"id": "chat-1", "owner_handle": theirs}, sender_handle=theirs),
        v3("4", "message.failed"),
    )
    assert set((await lines(redis)).values()) == {""}
    assert not await redis.exists(KEYS.chats)


async def test_topics_keep_event_order_whatever_the_source_of_lines(redis: Redis, rules: ConfigFile) -> None:
    webhooks = [
        v3(str(n), "message.sent", LINE if n % 3 == 0 else None, chat_id=f"chat-{n % 50 // 3}") for n in range(600)
    ]
    await routed(redis, rules, *webhooks)
    assert list(await lines(redis)) == [webhook.id for webhook in webhooks]
    assert list(await lines(redis, "support")) == [webhook.id for webhook in webhooks]


async def test_undecodable_entry_does_not_stop_chat_learning(redis: Redis, rules: ConfigFile) -> None:
    await accept(redis, v3("1", "message.sent", LINE))
    await redis.xadd(KEYS.inbox, {"foreign": "entry"})
    with capture_logs() as logs:
        await routed(redis, rules, v3("2", "message.failed"), v3("3", "message.failed", chat_id="another"))
    assert await lines(redis) == {"1": LINE, "2": LINE, "3": ""}
    assert await redis.xlen(KEYS.quarantine) == 1
    [entry] = [entry for entry in logs if entry["event"] == "lines.by_chat"]
    assert (entry["events"], entry["known"]) == (2, 1)


async def test_redis_outage_changes_no_line_and_no_order(redis: Redis, redis_url: str, rules: ConfigFile) -> None:
    async with proxy_to(redis_url) as proxy:
        behind = open_redis(proxy.url, WORKER_TIMEOUT)
        await accept(redis, v3("1", "message.sent", LINE, chat_id="A"))
        async with routing(behind, rules):
            await eventually(lambda: emptied(redis))
            proxy.shut()
            await accept(redis, v3("2", "message.sent", LINE, chat_id="B"), v3("3", "message.failed", chat_id="B"))
            await accept(redis, v3("4", "message.failed", chat_id="A"), v3("5", "message.failed", chat_id="C"))
            await eventually(lambda: proxy.refused > 0)
            proxy.open()
            await eventually(lambda: emptied(redis))
        await behind.aclose()
    assert await lines(redis) == {"1": LINE, "2": LINE, "3": LINE, "4": LINE, "5": ""}
    assert await hash_of(redis, KEYS.chats) == {"v3:A": LINE, "v3:B": LINE}


async def test_chat_is_learned_again_after_redis_lost_its_data(redis: Redis, rules: ConfigFile) -> None:
    async with routing(redis, rules):
        await accept(redis, v3("1", "message.sent", LINE))
        await eventually(lambda: emptied(redis))
        await redis.flushall()
        await accept(redis, v3("2", "message.sent", LINE))

        async def is_learned() -> bool:
            return await hash_of(redis, KEYS.chats) == {"v3:chat-1": LINE}

        await eventually(is_learned)
