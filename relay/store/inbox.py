"""The inbox, from the router's side: read in batches with a consumer group, moved into topics in one transaction.

The group has one consumer, whoever holds the router's lease. A router that died leaves its entries pending under that
name, and its successor reads them first (`read(pending=True)`). An entry is acknowledged, deleted and appended to its
topics by one script, which also refuses anyone whose lease has passed on: each event enters each of its topics exactly
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import to_json
from redis.exceptions import ResponseError

from relay.core.errors import StoreError
from relay.core.event import Dialect
from relay.store import bells, names
from relay.store.scripts import Script
from relay.store.streams import ensure_group, is_missing_group
from relay.store.taking import Claim, Most, take

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

    from relay.core.config import RelayConfig

    Fields = list[bytes | str | int]

_LEASE = names.lease(bells.ROUTE.job_id)
_commit = Script("commit")


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One accepted event that no topic has yet."""

    entry: bytes
    dialect: Dialect
    line: str | None
    webhook_id: str
    at: bytes
    """When it was accepted, Unix milliseconds in digits."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Move:
    """Where one inbox entry goes: to topics, to none, or aside."""

    entry: bytes
    type: str
    topics: Sequence[str]
    fields: Sequence[bytes | str | int]
    aside: bool = False


class InboxGroupMissing(StoreError):
    """The inbox or its group is not there: this Redis is new, or has lost its data."""


class Inbox:
    """The stream of accepted events."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ensure(self) -> None:
        """Makes the group. Entries leave the inbox when they are routed, so it starts at the beginning."""
        await ensure_group(self._redis, names.INBOX, names.INBOX_GROUP, "0")

    async def read(self, count: int, token: str, *, pending: bool = False) -> list[InboxEntry]:
        """Up to `count` new entries, or those a former router left pending; at once, empty if there are none.

        Raises:
            InboxGroupMissing: there is no group to read with.
            LeaseLost: the router's lease is somebody's whose token is not `token`.
        """
        claim = Claim(_LEASE, token)
        try:
            rows = await take(self._redis, claim, names.INBOX_GROUP, [names.INBOX], Most(count), pending=pending)
        except ResponseError as error:
            if is_missing_group(error):
                raise InboxGroupMissing from None
            raise
        if gone := [entry for _, entry, fields in rows if not fields]:  # pending, and deleted by hand
            await self._redis.xack(names.INBOX, names.INBOX_GROUP, *gone)
            return await self.read(count, token, pending=pending)
        return [_entry(entry, fields) for _, entry, fields in rows]

    async def wait(self, block_ms: int) -> bool:
        """Waits up to `block_ms` until there is an entry, be it new or pending: what was routed has left the inbox."""
        return bool(await self._redis.xread({names.INBOX: "0"}, count=1, block=block_ms))

    async def rewind(self) -> None:
        """Makes every entry a new one again, whatever became of the group: none of them has been routed."""
        await self._redis.xgroup_setid(names.INBOX, names.INBOX_GROUP, "0")

    async def commit(
        self, plan: bytes, topics: Mapping[str, int], moves: Sequence[Move], token: str, now_ms: int
    ) -> bool:
        """Moves entries into their topics; False if nothing was moved, because the lease of `token` has passed on.

        `plan` is what `compile_plan` made; `topics` the position of each topic in it.
        """
        arguments: Fields = [token, names.INBOX_GROUP, now_ms, bells.LIFETIME_MS, plan]
        for move in moves:
            arguments += (move.entry, move.type, -1 if move.aside else len(move.topics))
            arguments += [topics[name] for name in move.topics]
            arguments.append(len(move.fields))
            arguments += move.fields
        keys = [
            *(names.INBOX, names.COUNTS, names.UNMATCHED, names.ASIDE, names.TOPICS, names.LANES, names.QUEUE),
            _LEASE,
        ]
        moved: int = await _commit(self._redis, keys, arguments)
        return moved >= 0


def compile_plan(config: RelayConfig) -> tuple[bytes, dict[str, int]]:
    """The streams and lanes behind each topic, as the commit script reads them, and each topic's position (from 1)."""
    positions = {topic.name: position for position, topic in enumerate(config.topics, start=1)}
    lanes = {subscription.name: position for position, subscription in enumerate(config.subscriptions, start=1)}
    plan = {
        "topics": [
            {
                "name": topic.name,
                "stream": names.topic(topic.name),
                "lanes": [
                    lanes[subscription.name] for subscription in config.subscriptions_by_topic.get(topic.name, ())
                ],
            }
            for topic in config.topics
        ],
        "lanes": [_lane_of_plan(subscription.name) for subscription in config.subscriptions],
    }
    return to_json(plan), positions


def _lane_of_plan(name: str) -> dict[str, str]:
    slot = bells.slot_of(name)
    bell = bells.deliver(slot)
    return {
        "name": name,
        "ready": names.ready(slot),
        "job": bell.job_id,
        "payload": bell.payload.decode(),
    }


def _entry(entry: bytes, fields: Mapping[bytes, bytes]) -> InboxEntry:
    """The entry; what it lacks is empty, so that one the ingress did not write ends up aside and not in the way."""
    return InboxEntry(
        entry=entry,
        dialect=Dialect.V2 if fields.get(b"dialect") == b"v2" else Dialect.V3,
        line=fields.get(b"line", b"").decode() or None,
        webhook_id=fields.get(b"webhook_id", b"").decode(),
        at=fields.get(b"at", b"0"),
        body=fields.get(b"body", b""),
    )
