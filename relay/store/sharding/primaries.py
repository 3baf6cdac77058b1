"""The primaries of a Redis Cluster, and which of them has each shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from redis.crc import key_slot

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


class Primaries(NamedTuple):
    """The primaries of a cluster by their addresses."""

    all: list[str]
    """Every primary that serves a slot."""
    slots: list[int]
    """The slot of each shard."""
    of_shards: list[str]
    """The primary of each shard; empty for one whose slot has none."""


async def primaries_of(home: Redis) -> Primaries:
    """Return the primaries of the cluster of a relay, as the primary of its first shard knows them."""
    rows: Any = await home.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    spans = [(range(start, end + 1), _address(primary)) for start, end, primary, *_ in rows]
    slots = [key_slot(shard.key.name.encode()) for shard in home.shards]
    owners = [next((address for span, address in spans if slot in span), "") for slot in slots]
    return Primaries(list(dict.fromkeys(address for _, address in spans)), slots, owners)


def _address(node: list[Any]) -> str:
    host, port, *_ = node
    return f"{host.decode() if host else ''}:{port}"
