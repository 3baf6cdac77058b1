"""Shards: parts of the store that hold events apart from each other.

A shard is a client of Redis with the names of its keys (`Redis.key`). Every module of the store takes both from the
client that it is given, so with the client of a shard it works on that shard: the inbox, topics, lanes, leases and
wake-ups there. On a plain Redis the shards share the server and differ in the prefix. On a Redis Cluster the prefix is
a hash tag, so each is in a slot of its own, on the primary that serves it.

The first shard has the relay's own prefix, as if it were the only one, and is the home of what is no event: the
keyring, teams, stored subscriptions, the audit. Its client knows those of the others, so what is given that one client
can reach all (`Shards.from_home`). The prefixes of the others have a character that RELAY_KEY_PREFIX
cannot have, so that relays in the same Redis cannot meet.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.sharding.placement import shard_of
from relay.store.driver.client import open_redis
from relay.store.fixed_keys import DEFAULT_PREFIX, shard_prefix

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.core.sharding.placement import ShardKey
    from relay.store.driver.client import Redis


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of a relay."""

    all: tuple[Redis, ...]
    """By number; at least one."""

    @classmethod
    def from_home(cls, home: Redis) -> Shards:
        """Return the shards of the relay whose first one has this client."""
        return cls(home.shards)

    @property
    def home(self) -> Redis:
        """The shard that also has what is no event."""
        return self.all[0]

    def of(self, key: ShardKey) -> Redis:
        """Return the shard of the events with this key."""
        return self.all[shard_of(key, len(self.all))]


def by_server(shards: Sequence[Redis]) -> list[dict[int, Redis]]:
    """Return shards by their numbers, in groups that are on the same server whatever happens.

    On a plain Redis that is one group. On a cluster each shard is by itself: a cluster may move it away from others at
    any time, and one script cannot touch two slots, even of one server.
    """
    numbered = dict(enumerate(shards))
    return [numbered] if not shards[0].key.is_tagged else [{number: shard} for number, shard in numbered.items()]


@asynccontextmanager
async def open_shards(
    url: str, timeout: float, key_prefix: str = DEFAULT_PREFIX, count: int = 1
) -> AsyncIterator[Shards]:
    """Open clients of `count` shards; as for `open_redis`."""
    async with AsyncExitStack() as stack:
        clients = [open_redis(url, timeout, shard_prefix(key_prefix, shard)) for shard in range(count)]
        home, *others = [await stack.enter_async_context(client) for client in clients]
        home.others = tuple(others)
        yield Shards.from_home(home)
