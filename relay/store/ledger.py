"""The ledger: for every subscription, where each event that was routed to it is now. It must balance.

    routed = delivered + waiting + retrying + dead        (filtered and dropped are counted once there are such things)

Routed, delivered and died are counted in the same script as what they count; waiting and retrying are what the streams
hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.store import names
from relay.store.connect import ask

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Totals:
    """What the relay did with webhooks, all in all."""

    accepted: int
    duplicate: int
    aside: int
    routed: int
    unmatched: int
    inbox: int
    """Accepted and not yet routed."""

    @property
    def balances(self) -> bool:
        """Whether every accepted event is routed, unmatched, or still in the inbox."""
        return self.accepted == self.routed + self.unmatched + self.inbox


@dataclass(frozen=True, slots=True)
class LaneLedger:
    """Where one subscription's events are."""

    subscription: str
    routed: int
    delivered: int
    waiting: int
    """Not yet attempted, or being attempted now."""
    retrying: int
    dead: int
    replayed: int
    """How many dead letters were sent back, ever; for information."""

    @property
    def balances(self) -> bool:
        """Whether every routed event is somewhere."""
        return self.routed == self.delivered + self.waiting + self.retrying + self.dead


class Ledger:
    """Reads the ledger."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def totals(self) -> Totals:
        """The sums over everything."""
        counts = {name.decode(): int(value) for name, value in (await ask(self._redis.hgetall(names.COUNTS))).items()}
        return Totals(
            **{name: counts.get(name, 0) for name in ("accepted", "duplicate", "aside", "routed", "unmatched")},
            inbox=await self._redis.xlen(names.INBOX),
        )

    async def unmatched(self) -> dict[str, int]:
        """How many events of each type no topic wanted."""
        rows = await ask(self._redis.hgetall(names.UNMATCHED))
        return {name.decode(): int(value) for name, value in sorted(rows.items())}

    async def lanes(self) -> list[LaneLedger]:
        """One ledger per subscription that ever had a lane."""
        found = sorted(name.decode() for name in await ask(self._redis.smembers(names.LANES)))
        return [await self._lane(name) for name in found]

    async def _lane(self, name: str) -> LaneLedger:
        fields = {
            key.decode(): value.decode() for key, value in (await ask(self._redis.hgetall(names.lane(name)))).items()
        }
        topics = [key.removeprefix("checkpoint:") for key in fields if key.startswith("checkpoint:")]
        streams = [names.lane(name, "replay"), *map(names.topic, topics)]
        owed = sum([await self._owed(stream, names.push_group(name)) for stream in streams])
        retrying: int = await self._redis.zcard(names.lane(name, "retries"))
        return LaneLedger(
            subscription=name,
            routed=int(fields.get("routed", 0)),
            delivered=int(fields.get("delivered", 0)),
            waiting=owed - retrying,
            retrying=retrying,
            dead=await self._redis.xlen(names.lane(name, "dead")),
            replayed=int(fields.get("replayed", 0)),
        )

    async def _owed(self, stream: str, group: str) -> int:
        """How many entries of `stream` the group has not acknowledged, read or not."""
        try:
            groups = await self._redis.xinfo_groups(stream)
        except ResponseError as error:
            if "no such key" in str(error):
                return 0
            raise
        for row in groups:
            if row["name"] == group.encode():
                lag = row.get("lag")
                if lag is None:  # Redis cannot tell after a group was set to an arbitrary place
                    lag = await self._count_after(stream, row["last-delivered-id"].decode())
                return int(row["pending"]) + int(lag)
        return 0

    async def _count_after(self, stream: str, entry: str) -> int:
        count, start = 0, f"({entry}"
        while rows := await self._redis.xrange(stream, start, "+", count=_PAGE):
            count += len(rows)
            start = f"({rows[-1][0].decode()}"
        return count
