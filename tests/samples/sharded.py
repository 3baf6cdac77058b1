"""A relay with several shards, on a plain Redis or on a cluster, and the members that read its topic.

The members log in as a user with the rights that `relay acl` prints for a team, and no more.
"""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.config.file import ConfigFile
from relay.core.sharding.placement import shard_of_chat
from relay.store.driver.client import WORKER_TIMEOUT, Redis
from relay.store.rights.rules import team_rule
from relay.store.sharding.places import entry_name
from relay.store.sharding.shards import Shards, open_shards
from tests.clusters import Cluster, clusters
from tests.redis_server import RedisServer
from tests.samples.members import GROUP, RULES, TOPIC, Crew, webhook_in
from tests.support import eventually
from tests.workers.conftest import accept, emptied, routing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.samples.languages import Language

MOST = 4
"""Shards at the end."""
_TEAM, _PASSWORD = "crm", "it+is:secret"
_QUOTED = "it%2Bis%3Asecret"


def chats_on(shard: int, count: int, treatment: str = "chat", shards: int = MOST) -> list[str]:
    """Return chats whose events are on a shard, and get this treatment by the handlers of the tests."""
    names = (f"{treatment}-{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if shard_of_chat(name, shards) == shard), count))


@dataclass(slots=True, kw_only=True)
class ShardedStage(Crew):
    """A relay with several shards, and the members that read its topic."""

    shards: Shards
    """All that there will be."""
    cluster: Cluster | None
    count: int = MOST
    """Shards that there are."""
    entries: dict[str, str] = field(default_factory=dict)
    """Names of the entries of the events, by their ids."""

    async def set_count(self, count: int) -> None:
        """Have the relay use so many shards."""
        self.count = count
        await self.shards.home.set(self.shards.home.key.shards, count)

    async def feed(self, *chats: str) -> list[str]:
        """Have the relay accept and route an event in each of these chats, one after the other; return their ids."""
        webhooks = [webhook_in(chat) for chat in chats]
        numbers = [shard_of_chat(chat, self.count) for chat in chats]
        for number, webhook in zip(numbers, webhooks, strict=True):
            await accept(self.shards.all[number], webhook)
        for number in set(numbers):
            shard = self.shards.all[number]
            await eventually(lambda shard=shard: emptied(shard))  # type: ignore[misc]
            for entry, fields in await shard.xrange(shard.key.topic(TOPIC)):
                self.entries[fields[b"id"].decode()] = entry_name(entry.decode(), number)
        return [webhook.id for webhook in webhooks]

    async def is_idle(self) -> bool:
        """Return True if the group has read and acknowledged all, on every shard."""
        for shard in self.shards.all[: self.count]:
            rows = await shard.xinfo_groups(shard.key.topic(TOPIC))
            if len(rows) != 1 or rows[0]["pending"] or rows[0]["lag"]:
                return False
        return True

    async def consumers(self) -> set[str]:
        """Return the names of the group's consumers on any shard."""
        found = set()
        for shard in self.shards.all[: self.count]:
            found |= {row["name"].decode() for row in await shard.xinfo_consumers(shard.key.topic(TOPIC), GROUP)}
        return found

    async def held_by(self, member: str) -> set[str]:
        """Return the ids of the events that a member has and has not acknowledged."""
        names = {name: event_id for event_id, name in self.entries.items()}
        found = set()
        for number, shard in enumerate(self.shards.all):
            stream = shard.key.topic(TOPIC)
            for row in await shard.xpending_range(stream, GROUP, "-", "+", 100, consumername=member):
                found.add(names[entry_name(row["message_id"].decode(), number)])
        return found

    async def dead(self, shard: int) -> list[dict[str, str]]:
        """Return the dead letters on a shard."""
        client = self.shards.all[shard]
        rows = await client.xrange(client.key.group_dead(TOPIC, GROUP))
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]


@asynccontextmanager
async def open_sharded_stage(
    directory: Path, language: Language, *, is_cluster: bool = False
) -> AsyncIterator[ShardedStage]:
    """Run Redis or a cluster of three nodes, and the relay's router of each shard; end all afterwards."""
    rules_file = directory / "relay.toml"
    rules_file.write_text(RULES)
    async with AsyncExitStack() as stack:
        cluster: Cluster | None = None
        if is_cluster:
            cluster = await stack.enter_async_context(clusters(directory / "servers", replicas=0))
            for port in cluster.ports:  # the others go on without one
                await cluster.command(port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
            url, ports = cluster.url, cluster.ports
        else:
            server = RedisServer(directory / "redis")
            stack.push_async_callback(server.kill)
            await server.start()
            url, ports = server.url, [urlsplit(server.url).port or 0]
        shards = await stack.enter_async_context(open_shards(url, WORKER_TIMEOUT, count=MOST))
        rule = team_rule(TOPIC, *(shard.key for shard in shards.all))
        for port in ports:
            async with Redis(port=port) as node:
                words = f"ACL SETUSER {_TEAM} reset on".split()
                await node.execute_command(*words, f">{_PASSWORD}", *_words(str(rule)))  # type: ignore[no-untyped-call]
        rules = await stack.enter_async_context(ConfigFile(rules_file))
        for shard in shards.all:
            await stack.enter_async_context(routing(shard, rules))
        await eventually(lambda: shards.home.exists(shards.home.key.topics))
        stage = ShardedStage(
            url=url.replace("://", f"://{_TEAM}:{_QUOTED}@"),
            language=language,
            release=directory / "release",
            shards=shards,
            cluster=cluster,
        )
        await stage.set_count(MOST)
        stack.push_async_callback(stage.end)
        yield stage


def _words(rule: str) -> list[str]:
    """Return the arguments of ACL SETUSER: a selector in parentheses is one."""
    head, *selectors = rule.split(" (")
    return [*head.split(), *(f"({selector}" for selector in selectors)]
