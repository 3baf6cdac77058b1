"""Durable acceptance of webhooks, before the response.

A single script deduplicates every event of a batch, appends it to the inbox and wakes the router; concurrent requests
share its round trip. A caller knows within `Timings.accept_wait`: its event is durable, or Redis is unavailable and the
response is 503. Until then a batch that got no answer is sent again (`inbox.waiting_room`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

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
from relay.store.driver.batcher import Batcher
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.replication import NotReplicated, Replication
from relay.store.driver.scripts import Script
from relay.store.inbox.claims import claim_of
from relay.store.inbox.waiting_room import Room, WaitingRoom
from relay.store.sharding.growth.fence import StalePlacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Connection

    from relay.core.event import VerifiedWebhook
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis

_MAX_BATCH = 256  # events; a script blocks Redis while it runs, and this many take about 2 ms
_MAX_BATCH_BYTES = 8 * 1024 * 1024
_MAX_IN_FLIGHT = 2

_CONFLICT = 2  # of the script: accepted, though another event has claimed the id

_NO_ANSWER = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError, NotReplicated)
"""Errors after which the same batch may be stored a moment later; any other is an answer of Redis."""

_PING = pack_command(("PING",))

_accept = Script(__package__, "accept")

log = structlog.get_logger()


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
    ) -> None:
        """`dedupe_window` in seconds; `clock` returns Unix seconds; `replicas` must confirm an event as well.

        `placed_by` is the number of shards by which its events are placed (`sharding.growth.state`).
        """
        self._connection = OrderedConnection(redis)
        self._key = redis.key
        self._keys = (redis.key.inbox, redis.key.counts, redis.key.queue)
        self._placed_by = placed_by
        self._replication = Replication.to_replicas(replicas)
        self._window_ms = round(dedupe_window * 1000)
        self._clock = clock
        self._wait, self._attempt = timings.accept_wait, timings.accept_attempt
        self._room = WaitingRoom(self._ping, room or Room())
        self._loop = asyncio.get_running_loop()
        self._batcher: Batcher[VerifiedWebhook, bool] = Batcher(
            self._send,
            size_of=lambda webhook: len(webhook.body),
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

    async def accept(self, webhook: VerifiedWebhook) -> bool:
        """Store an event; return True if it is new and now durable, False if it was accepted before.

        Raises:
            StoreUnavailable: Redis did not confirm in time; the event may be stored, so a retry is deduplicated.
            StalePlacement: it is not stored, since events are placed by another number of shards here.
        """
        began, size, room = self._loop.time(), len(webhook.body), self._room
        room.enter(size)
        try:
            if room.redis_answers:
                return await self._batcher.submit(webhook)
            return await self._accept_later(webhook, began + self._wait)
        except _NoAnswer as error:
            return await self._accept_later(webhook, began + self._wait, error)
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis is too slow for the incoming webhooks: {error}") from None
        finally:
            room.leave(size)

    async def _accept_later(self, webhook: VerifiedWebhook, deadline: float, error: _NoAnswer | None = None) -> bool:
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
                        return await self._batcher.submit(webhook)
                    except _NoAnswer as again:
                        error = again
        raise StoreUnavailable(str(error or "Redis does not answer")) from None

    async def _ping(self) -> None:
        """Return if Redis answers: on the connection of the batches, which is open again then."""
        with suppress(ResponseError):
            async with asyncio.timeout(self._attempt):
                await self._connection.exchange(_PING, _read_reply)

    async def _send(self, webhooks: list[VerifiedWebhook]) -> list[bool]:
        wakeup = wakeups.route(self._key)
        now_ms = round(self._clock() * 1000)
        arguments: list[bytes | str | int] = [
            self._key.seen_prefix,
            self._window_ms,
            now_ms,
            wakeup.job_id,
            wakeup.payload,
            wakeups.LIFETIME_MS,
            self._placed_by,
        ]
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
        try:
            async with asyncio.timeout(self._attempt):
                results = await _accept.in_order(self._connection, self._keys, arguments, self._replication)
        except _NO_ANSWER as error:
            raise _NoAnswer(f"Redis did not accept the event: {describe(error)}") from error
        except REDIS_ERRORS as error:
            raise StoreUnavailable(f"Redis did not accept the event: {describe(error)}") from error
        if not isinstance(results, list):
            raise StalePlacement(results)
        if _CONFLICT in results:
            self._log_conflicts(webhooks, results)
        return [result != 0 for result in results]

    @staticmethod
    def _log_conflicts(webhooks: list[VerifiedWebhook], results: list[int]) -> None:
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
