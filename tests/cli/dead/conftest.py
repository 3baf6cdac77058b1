"""Dead letters of two subscriptions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.store.lanes.lane import Lane
from tests.cli.running import Said, invoke_beside
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

LINE = "+16465550123"
RULES = "\n".join(
    [
        '[[topics]]\nname = "support"\nevents = ["*"]',
        *(
            f'[[subscriptions]]\nname = "{name}"\ntopic = "support"\nurl = "http://x"\nsecret = "env:S"'
            for name in ("bot", "audit")
        ),
    ]
)
DIED = 1_789_377_302_417
BODY = '{"event_id":"e-1","text":"é [/not markup]"}'


async def bury(redis: Redis, subscription: str, event_id: str, **more: str) -> str:
    """A dead letter as a worker writes it, its lane included; its place in the stream."""
    lane = Lane(redis, subscription, f"{subscription}-topic")
    await lane.ensure()
    fields: Any = {
        "id": event_id,
        "type": "message.received",
        "line": LINE,
        "chat": "chat-1",
        "at": DIED - 60_000,
        "version": "2026-02-03",
        "body": BODY,
        "dead_topic": "support",
        "dead_at": DIED,
        "dead_reason": "rejected: status 404",
        "dead_tries": 3,
        "dead_first_at": DIED - 50_000,
        "dead_status": 404,
        "dead_detail": "nothing here",
        **more,
    }
    event = await redis.xadd(lane.topic_stream, {"id": event_id, "body": BODY})
    await lane.read_new(1)
    await redis.xack(lane.topic_stream, lane.group, event)
    entry: bytes = await redis.xadd(KEYS.lane(subscription, "dead"), fields)
    return entry.decode()


@pytest.fixture
async def graves(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """Two dead letters of one subscription, and one of another."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    await bury(redis, "bot", "e-1")
    await bury(redis, "bot", "e-2", line="", chat="", dead_status="", dead_reason="unreachable: no attempt left of 3")
    await bury(redis, "audit", "e-1")
    return redis


async def dead(*arguments: str) -> Said:
    return await invoke_beside("dead", *arguments)


def ids(said: Said) -> list[tuple[str | None, str]]:
    return [(row["subscription"], row["id"]) for row in said.json]


@pytest.fixture
async def many(graves: Redis) -> Redis:
    """Besides the others: three of another type, line and time."""
    for n in range(3):
        await bury(graves, "bot", f"call-{n}", type="call.ended", line="+16465550124", dead_at=str(DIED + 60_000))
    return graves
