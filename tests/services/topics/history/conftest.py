"""A context over the Redis of the test, an operator, a team, and events in topics."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.rules.current import Rules
from relay.services.context import Context
from tests.building import CUSTOMER, LINE, TWO_TOPICS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

OPERATOR = Principal("alice@host", None, EVERY_SCOPE)
TEAM = Principal("bot", "bots", EVERY_SCOPE, frozenset({"messages"}), "198.51.100.9", "t1")


@pytest.fixture
def context(redis: Redis) -> Context:
    path = Path("relay.toml")
    path.write_text(TWO_TOPICS)
    settings = Settings(relay_config=path)
    return Context(settings, redis, Rules(settings, redis), time.time)


def hiding(context: Context) -> Context:
    """Return the same with RELAY_HIDE_BODIES."""
    return replace(context, settings=context.settings.model_copy(update={"relay_hide_bodies": True}))


async def put(redis: Redis, topic: str, event_id: str, at_ms: int, **more: Any) -> str:
    """Add an event to a topic, routed at a time; return the entry."""
    handle = more.pop("handle", CUSTOMER)
    body = {"event_id": event_id, "data": {"sender_handle": {"handle": handle}, "parts": [{"value": "hello"}]}}
    fields: dict[Any, Any] = {"id": event_id, "type": "message.received", "line": LINE, "chat": "c1", "at": at_ms}
    fields |= {"version": "2026-02-03", "body": json.dumps(body), **more}
    await redis.sadd(redis.key.topics, topic)  # type: ignore[misc]
    entry = await redis.xadd(redis.key.topic(topic), fields, f"{at_ms}-*")
    return str(entry.decode())
