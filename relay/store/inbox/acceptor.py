"""Durable acceptance of webhooks, before the response.

A single script deduplicates every event of a batch, appends it to the inbox and wakes the router; concurrent requests
share its round trip, also those of several shards that share a server. A caller knows within `Timings.accept_wait`: its
event is durable, or Redis is unavailable and the response is 503. Until then a batch that got no answer is sent again
(`inbox.waiting_room`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.core.errors import StoreUnavailable
from relay.core.event import source_name
from relay.process.telemetry.context import trace_id_of
from relay.process.timings import DEFAULTS
from relay.store import wakeups
from relay.store.driver.batcher import Batcher, by_group, in_order_of
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.replication import NotReplicated, Replication
from relay.store.driver.scripts import LONG, Script
from relay.store.inbox.claims import claim_of
from relay.store.inbox.waiting_room import Room, WaitingRoom
from relay.store.sharding.growth.fence import StalePlacement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis.asyncio import Connection

    from relay.core.event import VerifiedWebhook
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis

    Item = tuple[VerifiedWebhook, int]
    """A webhook and the number of its shard."""

_MAX_BATCH = 256  # events; a script blocks Redis while it runs, and this many take about 2 ms
_MAX_BATCH_BYTES = 8 * 1024 * 1024
_MAX_IN_FLIGHT = 2

_CONFLICT = 2  # of the script: accepted, though another event has claimed the id

_NO_ANSWER = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError, NotReplicated)
"""Errors after which the same batch may be stored a moment later; any other is an answer of Redis."""

_PING = [pack_command(("PING",))]

_accept = Script(__package__, "accept")

log = structlog.get_logger()


class _Place(NamedTuple):
    """The place of a shard's events, as the script gets it."""

    keys: tuple[str, str, str]
    arguments: tuple[str, str, bytes]

    @classmethod
    def on(cls, shard: Redis) -> Self:
        key, wakeup = shard.key, wakeups.route(shard.key)
        return cls((key.inbox, key.counts, key.queue), (key.seen_prefix, wakeup.job_id, wakeup.payload))


class _NoAnswer(StoreUnavailable):
    """A batch that may or may not be stored, and can be sent again."""


class Acceptor:
    """An append of verified webhooks to the inbox. Enter it as a context."""

    def __init__(  # noqa: PLR0913, PLR0917  the parts of an ingress
        self,
        redis: Redis,
        dedupe_window: float,
        clock: Callable[[], float],
        replicas: int = 0,
        timings: Timings = DEFAULTS,
        room: Room | None = None,
        placed_by: int = 1,
        shards: Mapping[int, Redis] | None = None,
    ) -> None:
        """`dedupe_window` in seconds; `clock` returns Unix seconds; `replicas` must confirm an event as well.

        `placed_by` is the number of shards by which its events are placed (`sharding.growth.state`). `shards`, by
        number, are those whose events it takes, all on the server of `redis`; by default that is the only one.
        """
        self._connection = OrderedConnection(redis)
        self._places = {number: _Place.on(shard) for number, shard in (shards or {0: redis}).items()}
        self._placed_by = placed_by
        self._replication = Replication.to_replicas(replicas)
        self._window_ms = round(dedupe_window * 1000)
        self._clock = clock
        self._wait, self._attempt = timings.accept_wait, timings.accept_attempt
        self._room = WaitingRoom(self._ping, room or Room())
        self._loop = asyncio.get_running_loop()
        self._batcher: Batcher[Item, bool | StoreUnavailable] = Batcher(
            self._send,
            size_of=lambda item: len(item[0].body),
            max_items=_MAX_BATCH,
            max_bytes=_MAX_BATCH_BYTES,
            max_in_flight=_MAX_IN_FLIGHT,
            max_wait=self._wait - self._attempt,  # with its own batch that is `wait`
        )

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._batcher.__aexit__(*error)
        await self._room.aclose()
        await self._connection.aclose()

    @property
    def redis_answers(self) -> bool:
        """False from a batch without an answer until Redis answers again."""
        return self._room.redis_answers

    async def accept(self, webhook: VerifiedWebhook, shard: int = 0) -> bool:
        """Store an event in a shard, by number; return True if it is new and now durable, False if it is a repeat.

        Raises:
            StoreUnavailable: Redis did not confirm in time; the event may be stored, so a retry is deduplicated.
            StalePlacement: it is not stored, since events are placed by another number of shards here.
        """
        began, size, room = self._loop.time(), len(webhook.body), self._room
        room.enter(size)
        try:
            if room.redis_answers:
                result = await self._batcher.submit((webhook, shard))
            else:
                result = await self._accept_later((webhook, shard), began + self._wait)
        except _NoAnswer as error:
            result = await self._accept_later((webhook, shard), began + self._wait, error)
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis is too slow for the incoming webhooks: {error}") from None
        finally:
            room.leave(size)
        if isinstance(result, StoreUnavailable):
            raise result
        return result

    async def _accept_later(
        self, item: Item, deadline: float, error: _NoAnswer | None = None
    ) -> bool | StoreUnavailable:
        """Store an event as soon as Redis answers.

        Raises:
            StoreUnavailable: it has not by `deadline`.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while True:
                    if error is not None:
                        self._room.redis_failed()
                    await self._room.until_redis_answers()
                    try:
                        return await self._batcher.submit(item)
                    except _NoAnswer as again:
                        error = again
        raise StoreUnavailable(str(error or "Redis does not answer")) from None

    async def _ping(self) -> None:
        """Return if Redis answers: on the connection of the batches, which is open again then."""
        with suppress(ResponseError):
            async with asyncio.timeout(self._attempt):
                await self._connection.exchange(_PING, _read_reply)

    async def _send(self, items: Sequence[Item]) -> list[bool | StoreUnavailable]:
        by_shard = by_group(items)
        replies = await self._exchange(by_shard)
        results: list[bool | StoreUnavailable] = []
        for webhooks, reply in zip(by_shard.values(), replies, strict=True):
            results += self._results(webhooks, reply)
        return in_order_of(items, by_shard, results)

    async def _exchange(self, by_shard: Mapping[int, Sequence[VerifiedWebhook]]) -> Sequence[list[int] | int | bytes]:
        keys: list[str] = []
        arguments: list[bytes | str | int] = [
            self._window_ms,
            round(self._clock() * 1000),
            wakeups.LIFETIME_MS,
            self._placed_by,
        ]
        has_long = False
        for shard, webhooks in by_shard.items():
            place = self._places[shard]
            keys += place.keys
            arguments += place.arguments
            arguments.append(len(webhooks))
            for webhook in webhooks:
                arguments += (
                    webhook.id,
                    webhook.type,
                    webhook.dialect if webhook.account is None else source_name(webhook.dialect, webhook.account),
                    webhook.webhook_id,
                    webhook.line or "",
                    webhook.body,
                    claim_of(webhook.dialect, webhook.line, webhook.body, webhook.account),
                    f"{webhook.generation} {webhook.remote or '-'}",
                )
                if len(webhook.body) > LONG:
                    has_long = True
        try:
            async with asyncio.timeout(self._attempt):
                replies: Sequence[list[int] | int | bytes] = await _accept.in_order(
                    self._connection, keys, arguments, self._replication, has_long=has_long
                )
        except _NO_ANSWER as error:
            raise _NoAnswer(f"Redis did not accept the event: {describe(error)}") from error
        except REDIS_ERRORS as error:
            raise StoreUnavailable(f"Redis did not accept the event: {describe(error)}") from error
        return replies

    def _results(
        self, webhooks: Sequence[VerifiedWebhook], reply: list[int] | int | bytes
    ) -> list[bool | StoreUnavailable]:
        if isinstance(reply, int):
            return [StalePlacement(reply)] * len(webhooks)
        if isinstance(reply, bytes):
            return [StoreUnavailable(f"Redis did not accept the event: {reply.decode(errors='replace')}")] * len(
                webhooks
            )
        if _CONFLICT in reply:
            self._log_conflicts(webhooks, reply)
        return [result != 0 for result in reply]

    @staticmethod
    def _log_conflicts(webhooks: Sequence[VerifiedWebhook], results: Sequence[int]) -> None:
        for webhook, result in zip(webhooks, results, strict=True):
            if result == _CONFLICT:
                log.warning(
                    "event.id_conflict",
                    id=webhook.id,
                    trace_id=trace_id_of(webhook.trace, webhook.id),
                    line=webhook.line,
                    dialect=webhook.dialect,
                    note="another Linq subscription has sent another event with this id; both are accepted",
                )


async def _read_reply(connection: Connection) -> object:
    return await connection.read_response()
