"""STOP and START of real payloads go into the registry, in the order of the messages, only if it is switched on."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.event import Dialect, VerifiedWebhook
from relay.store import wakeups
from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.inbox.chat_lines import ChatLines
from relay.store.inbox.inbox import InboxEntry
from relay.store.lines.line_keys import LineKeys
from relay.store.lines.opt_outs import OptOut, list_opt_outs
from relay.store.sharding.shards import open_shards
from tests.building import CUSTOMER, LINE, body_of
from tests.support import eventually
from tests.workers.conftest import TIMINGS, accept, emptied, routing, topic
from workers.routing.decoder import decode_batch
from workers.routing.opt_outs import record_opt_outs_of
from workers.routing.router import Router

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis

SENT = {"STOP": "2026-09-14T09:15:02Z", "START": "2026-09-14T09:16:02Z", "late": "2026-09-14T09:14:02Z"}


def message(text: str, at: str, number: int = 1, **data: Any) -> VerifiedWebhook:
    event_id = f"message-{text.strip()}-{at}-{number}"
    body = body_of(
        "message.received",
        event_id,
        direction="inbound",
        sender_handle={"handle": CUSTOMER},
        parts=[{"type": "text", "value": text}],
        sent_at=at,
        **data,
    )
    return VerifiedWebhook(event_id, "message.received", Dialect.V3, event_id, LINE, body)


async def opted_out(redis: Redis, rules: ConfigFile, *webhooks: VerifiedWebhook) -> list[OptOut]:
    await accept(redis, *webhooks)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    return await list_opt_outs(redis, LINE, 10)


@pytest.fixture
def registry(rules_file: Path, rules: ConfigFile) -> ConfigFile:
    """Rules with the registry."""
    rules_file.write_text(rules_file.read_text() + "\n[linq]\nopt_outs = true\n")
    rules.reload()
    return rules


async def test_newest_message_decides_in_any_order_of_delivery(redis: Redis, registry: ConfigFile) -> None:
    words = [message(" stopall\n", SENT["STOP"]), message("please stop", SENT["STOP"]), message("hello", SENT["STOP"])]
    assert await opted_out(redis, registry, *words) == [OptOut(CUSTOMER, 1789377302000)]
    assert await opted_out(redis, registry, message("Start", SENT["START"])) == []
    assert await opted_out(redis, registry, message("STOP", SENT["late"])) == []
    assert await opted_out(redis, registry, message("QUIT", "2026-09-14T09:17:02Z")) == [
        OptOut(CUSTOMER, 1789377422000)
    ]


async def test_every_keyword_is_found_in_each_way_of_writing_it(redis: Redis, registry: ConfigFile) -> None:
    for number, word in enumerate(("stop", "STOPALL", "Unsubscribe", "cancel", "END", "quit\u00a0", "\tstop ")):
        stop = message(word, f"2026-09-14T09:20:{number:02}Z", number)
        ascii_body = stop._replace(body=json.dumps(json.loads(stop.body), ensure_ascii=number % 2 == 0).encode())
        assert len(await opted_out(redis, registry, ascii_body)) == 1, word
        assert await opted_out(redis, registry, message("unstop", f"2026-09-14T09:20:{number:02}.5Z", number)) == []


async def test_first_shard_has_the_opt_outs_of_all(redis: Redis, redis_url: str, registry: ConfigFile) -> None:
    """A STOP in a chat on one shard, a START in a chat on another, and a router that another worker has replaced."""
    stop, start = message("STOP", SENT["STOP"]), message("START", SENT["START"])
    async with open_shards(redis_url, WORKER_TIMEOUT, count=3) as shards:
        for shard, word, found in (
            (shards.all[1], stop, [OptOut(CUSTOMER, 1789377302000)]),
            (shards.all[2], start, []),
        ):
            await accept(shard, word)
            async with routing(shard, registry, Router(shard, registry, time.time, TIMINGS, home=shards.home)):
                await eventually(lambda shard=shard: emptied(shard))  # type: ignore[misc]
            assert await list_opt_outs(redis, LINE, 10) == found
        assert [await shard.exists(LineKeys(shard).opted_out_lines) for shard in shards.all] == [1, 0, 0]

        last = shards.all[2]
        entry = InboxEntry(b"1-1", Dialect.V3, LINE, "w", b"1", stop.body)
        [event] = await decode_batch([entry], ChatLines(last, time.time), "former", {})
        await last.set(last.key.lease(wakeups.route(last.key).job_id), "another")
        with pytest.raises(LeaseLost):
            await record_opt_outs_of(last, [entry], [event], "former", shards.home)


async def test_without_the_registry_nothing_is_kept(redis: Redis, rules: ConfigFile) -> None:
    assert await opted_out(redis, rules, message("STOP", SENT["STOP"])) == []
    assert await redis.keys("relay:lines:opt*") == []


async def test_overwritten_registry_stops_no_event(redis: Redis, registry: ConfigFile) -> None:
    await ask(redis.set(LineKeys(redis).opted_out_lines, "x"))
    with capture_logs() as logs:
        await opted_out(redis, registry, message("STOP", SENT["STOP"]))
    assert len(await topic(redis, "messages")) == 1
    [suspended] = [line for line in logs if line["event"] == "opt_outs.suspended"]
    assert f"{LineKeys(redis).opted_out_lines} is a string, not a set" in suspended["error"]


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("space", ["\u3000", "\u2003", "\u2028", "\x85", "\x1c", "\f", "\xa0 \u2009"])
async def test_any_white_space_around_a_keyword(
    redis: Redis, registry: ConfigFile, space: str, *, escaped: bool
) -> None:
    stop = message("STOP", SENT["STOP"])
    text = json.dumps(f"{space}Stop{space}", ensure_ascii=escaped).encode()
    body = stop.body.replace(b'"STOP"', text)
    assert text in body
    assert len(await opted_out(redis, registry, stop._replace(body=body))) == 1


async def test_odd_senders_and_times_of_an_opt_out(redis: Redis, registry: ConfigFile) -> None:
    huge = message("STOP", SENT["STOP"])
    huge = huge._replace(id="huge", body=huge.body.replace(CUSTOMER.encode(), b"+" + b"1" * 100_000))
    assert await opted_out(redis, registry, huge) == []
    old = message("STOP", "1900-01-01T00:00:00Z")
    assert await opted_out(redis, registry, old) == [OptOut(CUSTOMER, 0)]
