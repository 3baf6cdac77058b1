"""A relay without processes for the gap finder: a sandbox with messages, a router when it is asked for, its topics."""

from __future__ import annotations

import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from relay.config.file import ConfigFile
from relay.core.event import Dialect, VerifiedWebhook
from relay.gaps.run import Asked, GapFinder
from relay.linq.api.history import LinqHistory
from relay.linq.payloads.shard_key import shard_key_in
from relay.sandbox.outage import Outage, messages_of
from relay.sandbox.payloads import NEW, Scenario, data_of, envelope
from relay.store.gaps.message_index import begin_index
from relay.store.gaps.walk_record import Mode, Walk
from relay.store.sharding.shards import Shards
from tests.building import config_of
from tests.support import eventually
from tests.workers.conftest import TIMINGS, accept, emptied, routing, topic
from workers.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.sandbox.running import RunningSandbox

RULES = """
[[topics]]
name = "all"
events = ["message.*"]

[[topics]]
name = "live"
events = ["message.*"]
freshness = "live"
"""
RATE = 10_000.0
HOUR_MS = 3_600_000


@dataclass(slots=True)
class Stage:
    """The stage of a test."""

    redis: Redis
    sandbox: RunningSandbox
    file: ConfigFile
    rules: str = RULES

    @property
    def finder(self) -> GapFinder:
        """A gap finder that waits for nothing."""
        history = LinqHistory(self.sandbox.client, RATE, (0.01, 0.01))
        return GapFinder(self.redis, history, config_of(self.rules), time.time, 72 * 3600.0)

    def outage(self, messages: int = 30, chats: int = 5, seconds: float = 1800) -> list[tuple[str, Scenario]]:
        """Make messages in the past without webhooks."""
        made = list(
            messages_of(Outage(messages=messages, chats=chats, seconds=seconds), self.sandbox.sandbox.state.lines)
        )
        for event_type, scenario in made:
            self.sandbox.sandbox.history.record(event_type, scenario)
        return made

    async def walk(self, mode: Mode = Mode.FILL, **asked: Any) -> Walk:
        """Walk over the last hour, up to now."""
        now_ms = round(time.time() * 1000)
        finder = self.finder
        return await finder.run(await finder.new(Asked(mode, now_ms - HOUR_MS, now_ms, **asked)))

    async def accept(self, *made: tuple[str, Scenario], reconciled: bool = False) -> None:
        """Put Linq's own events of messages into the inboxes of their shards."""
        webhooks = [webhook_of(*each, reconciled=reconciled) for each in made]
        for shard in self.redis.shards:
            await accept(shard, *(each for each in webhooks if shard is self.shard_of(each)))

    def shard_of(self, webhook: VerifiedWebhook) -> Redis:
        """Return the shard of an event."""
        return Shards.from_home(self.redis).of(shard_key_in(webhook.dialect, webhook.body))

    async def routed(self, name: str = "all") -> list[dict[str, str]]:
        """Route what is in the inboxes; return the entries of a topic, shard by shard."""
        found = []
        for shard in self.redis.shards:
            async with routing(shard, self.file, Router(shard, self.file, time.time, TIMINGS, home=self.redis)):
                await eventually(partial(emptied, shard))
            found += await topic(shard, name)
        return found


@asynccontextmanager
async def stage_of(redis: Redis, sandbox: RunningSandbox, tmp_path: Path, rules: str = RULES) -> AsyncIterator[Stage]:
    """Open a stage whose message index began hours ago."""
    path = tmp_path / "relay.toml"
    path.write_text(rules)
    for shard in redis.shards:
        await begin_index(shard, round(time.time() * 1000) - 24 * HOUR_MS)
    async with ConfigFile(path) as file:
        yield Stage(redis, sandbox, file, rules)


def webhook_of(event_type: str, scenario: Scenario, *, reconciled: bool = False) -> VerifiedWebhook:
    """Return Linq's event of a message."""
    event_id, now = str(uuid.uuid4()), datetime.now(UTC)
    data = data_of(event_type, scenario, NEW)
    if reconciled:
        data["reconciled_at"] = now.isoformat()
    body = envelope(event_type, event_id, data, NEW, now)
    return VerifiedWebhook(event_id, event_type, Dialect.V3, event_id, scenario.line, body, remote="192.0.2.1")


def messages_in(entries: list[dict[str, str]]) -> list[str]:
    """Return the ids of the messages of entries, sorted."""
    return sorted(entry["message"] for entry in entries)
