"""A shadow is compared with its original by the attempts of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import Conflict
from relay.rules.current import Rules
from relay.services.context import Context
from relay.services.deliveries.shadow_report import report
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.lanes.lane import Lane
from relay.store.sharding.shards import open_shards
from tests.building import SECRET
from tests.cli.attempting import BAD, BEGAN, GOOD, remember
from tests.rules.storing import KEY
from tests.support import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis

OPERATOR = Principal("alice@host", None, EVERY_SCOPE)
RULES = f"""
[[topics]]
name = "support"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "support"
url = "http://127.0.0.1:9/bot"
secret = "{SECRET.text}"

[[subscriptions]]
name = "next"
shadow_of = "bot"
url = "http://127.0.0.1:9/next"
secret = "{SECRET.text}"
"""
NOW = BEGAN / 1000 + 60


@pytest.fixture
async def context(redis: Redis, redis_url: str, tmp_path: Path) -> Context:
    path = tmp_path / "relay.toml"
    path.write_text(RULES)
    settings = Settings(redis_url=redis_url, relay_config=path, relay_secret_key=SecretStr(KEY))
    for name in ("bot", "next"):
        await Lane(redis, name, "support").ensure()
    return Context(settings, redis, Rules(settings, redis, lambda: NOW), lambda: NOW)


async def test_events_are_paired_and_what_differs_is_listed(redis: Redis, context: Context) -> None:
    await remember(redis, "bot", GOOD._replace(event_id="before", at_ms=BEGAN - 9000))
    for name, answer in (("bot", '{"a":1}'), ("next", '{"a":2}')):
        await remember(redis, name, GOOD, '{"a":1}')
        await remember(redis, name, GOOD._replace(event_id="e-2", at_ms=BEGAN + 2000, took_ms=50), answer)
    await remember(redis, "bot", GOOD._replace(event_id="e-3", at_ms=BEGAN + 3000))
    await remember(redis, "next", BAD._replace(event_id="e-3", at_ms=BEGAN + 3000))
    dead = BAD._replace(event_id="e-3", at_ms=BEGAN + 8000, due_ms=None, dead="failed: no attempt left of 2", number=2)
    await remember(redis, "next", dead, "boom")
    await remember(redis, "bot", GOOD._replace(event_id="e-4", at_ms=BEGAN + 4000))
    await remember(redis, "next", BAD._replace(event_id="e-4", at_ms=BEGAN + 4000))
    await remember(redis, "next", GOOD._replace(event_id="e-5", is_replay=True))
    found = await report(context, OPERATOR, "next")
    assert (found.compared, found.same, found.open, found.different) == (3, 1, 1, 2)
    assert (found.answers, found.same_answer, found.agreement) == (2, 1, 1 / 3)
    assert [(each.event, each.differs) for each in found.differences] == [
        ("e-3", ("outcome", "status")),
        ("e-2", ("answer",)),
    ]
    worst = found.differences[0].shadow
    assert (worst.status, worst.attempts, worst.dead) == (500, 2, "failed: no attempt left of 2")
    assert (found.since_ms, found.missing_in_shadow, found.missing_in_original) == (BEGAN, 0, 0)
    assert (found.original_speed.p50_ms, found.original_speed.p99_ms) == (31, 50)


async def test_missing_attempts_are_listed_with_their_reason(redis: Redis, context: Context) -> None:
    for name in ("bot", "next"):
        await remember(redis, name, GOOD)
    stream = KEYS.topic("support")
    await redis.xadd(stream, {"id": "waiting"}, id="9-1")
    await redis.xgroup_setid(stream, "push:next", "0")
    for event_id, entry in (("waiting", "9-1"), ("trimmed", "5-0"), ("expired", "5-1")):
        await remember(redis, "bot", GOOD._replace(event_id=event_id, entry=entry, at_ms=BEGAN + 1000))
    await remember(redis, "bot", GOOD._replace(event_id="just now", at_ms=round(NOW * 1000)))
    await redis.xadd(KEYS.lane("next", "dead"), {"id": "expired", "dead_reason": "expired: older than 1h"})
    found = await report(context, OPERATOR, "next")
    assert {each.event: each.why for each in found.missing} == {
        "waiting": "waits for its first attempt",
        "trimmed": "was removed from the topic before it was sent",
        "expired": "dead letter: expired: older than 1h",
    }
    assert (found.missing_in_shadow, found.compared, found.agreement) == (3, 1, 1.0)


async def test_only_a_shadow_can_be_compared(context: Context) -> None:
    with pytest.raises(Conflict, match="bot shadows no other subscription; its shadows: next"):
        await report(context, OPERATOR, "bot")


async def test_events_of_all_shards_are_compared(context: Context, redis_url: str) -> None:
    """An event is missing on the shard that has it, where its reason is looked for."""
    async with open_shards(redis_url, WORKER_TIMEOUT, count=3) as shards:
        stream = shards.all[1].key.topic("support")
        for shard in shards.all:
            for name in ("bot", "next"):
                await Lane(shard, name, "support").ensure()
                await remember(shard, name, GOOD._replace(event_id=f"both {shard.key.name}"))
        await shards.all[1].xadd(stream, {"id": "waiting"}, id="9-1")
        await shards.all[1].xgroup_setid(stream, "push:next", "0")
        await remember(shards.all[1], "bot", GOOD._replace(event_id="waiting", entry="9-1", at_ms=BEGAN + 1000))
        await remember(shards.all[2], "next", GOOD._replace(event_id="gone", entry="9-1", at_ms=BEGAN + 2000))
        letter: Any = {"id": "gone", "dead_reason": "expired: older than 1h"}
        await shards.all[2].xadd(shards.all[2].key.lane("bot", "dead"), letter)
        found = await report(replace(context, redis=shards.home), OPERATOR, "next")
    assert (found.compared, found.same, found.since_ms) == (3, 3, BEGAN)
    assert [(each.event, each.missing_in, each.why) for each in found.missing] == [
        ("gone", "bot", "dead letter: expired: older than 1h"),
        ("waiting", "next", "waits for its first attempt"),
    ]
    assert (found.missing_in_shadow, found.missing_in_original) == (1, 1)


async def test_shard_where_the_shadow_did_nothing_is_compared_too(context: Context, redis_url: str) -> None:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as shards:
        for name in ("bot", "next"):
            await remember(shards.home, name, GOOD)
        for event, at_ms in (("before", BEGAN - 1000), ("after", BEGAN + 1000)):
            await remember(shards.all[1], "bot", GOOD._replace(event_id=event, at_ms=at_ms))
        found = await report(replace(context, redis=shards.home), OPERATOR, "next")
    assert [each.event for each in found.missing] == ["after"]
