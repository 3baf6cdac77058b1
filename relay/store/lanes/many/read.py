"""Reads of new deliveries for many lanes of a partition: those of the same moment share a round trip.

Where hundreds of lanes read one topic, each event wakes all of them, and a read of each by itself costs more than its
POST. So do lanes of several shards that share a server. What a script reads in all is bounded, however many lanes share
it; a lane whose turn did not come asks again. An error of one lane is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.batcher import Batcher, UserOfBatches, by_group, in_order_of
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.driver.fenced_reads import Claim, entries_in
from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.scripts import Script
from relay.store.driver.streams import is_missing_group
from relay.store.isolation import error_of
from relay.store.lanes.delivery import Delivery, Ref

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.lanes.lane import Lane

_MAX_LANES = 32  # in one script
_MAX_ENTRIES = 256  # in one script, which blocks Redis for about 1 ms with bodies of 1 kB
_MAX_IN_FLIGHT = 2

_read = Script(__package__, "read_lanes")


class _Wanted(NamedTuple):
    lane: Lane
    most: int
    """Of the topic."""
    most_in_all: int


class ReadBatches(Batcher[tuple[_Wanted, Claim], Any]):
    """The reads at one server, each with the claim of its shard. Enter it as a context."""

    def __init__(self, redis: Redis) -> None:
        """`redis` is the client of any shard there."""
        self._ordered = OrderedConnection(redis, WORKER_TIMEOUT)
        super().__init__(
            self._read,
            size_of=lambda _: 0,
            max_items=_MAX_LANES,
            max_bytes=1,
            max_in_flight=_MAX_IN_FLIGHT,
            connection=self._ordered,
        )

    async def _read(self, items: list[tuple[_Wanted, Claim]]) -> list[Any]:
        by_claim = by_group(items)
        arguments: list[str | int] = [keys.CONSUMER, _MAX_ENTRIES]
        for (_, token), wanted in by_claim.items():
            arguments += (token, len(wanted))
            for lane, most, most_in_all in wanted:
                arguments += (lane.group, lane.topic_stream, lane.replay_stream, most, most_in_all)
        replies: list[Any] = await _read.in_order(self._ordered, [claim.lease for claim in by_claim], arguments)
        return in_order_of(items, by_claim, replies)


class LaneReads(UserOfBatches[ReadBatches]):
    """The reads of new deliveries of one partition, fenced by the lease of `token`. Enter it as a context."""

    def __init__(self, redis: Redis, job_id: str, token: str, shared: ReadBatches | None = None) -> None:
        """`shared` are the batches that it shares with other shards; without them it has its own."""
        super().__init__(lambda: ReadBatches(redis), shared)
        self._claim = Claim(redis.key.lease(job_id), token)

    async def read_new(self, lane: Lane, count: int, max_total: int) -> list[Delivery]:
        """Read new deliveries of a lane, as `Lane.read_new` does.

        Raises:
            LeaseLost: another worker holds the lease of the partition.
            WrongType: a key of the lane is of a wrong type.
        """
        if lane.owes_other_topics:
            return await lane.read_new(count, self._claim.token, max_total)
        wanted = _Wanted(lane, count, max_total), self._claim
        while (reply := await self._batches.submit(wanted)) == 0:
            pass
        if isinstance(reply, bytes):
            error = error_of(reply.decode(errors="replace"))
            if not (isinstance(error, ResponseError) and is_missing_group(error)):
                raise error
            await lane.ensure()
            return await lane.read_new(count, self._claim.token, max_total)
        return [Delivery(Ref(stream.decode(), entry.decode()), fields) for stream, entry, fields in entries_in(reply)]
