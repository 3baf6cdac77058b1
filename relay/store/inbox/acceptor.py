"""Durable acceptance of webhooks, before the response.

One script does the dedupe, the append to the inbox and the wake of the router, for every event of a batch; concurrent
requests share its round trip. A caller knows within two seconds: its event is durable, or Redis is in trouble and the
answer is 503.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from relay.core.errors import StoreUnavailable
from relay.store import keys, wakeups
from relay.store.driver.batcher import Batcher
from relay.store.driver.client import REQUEST_TIMEOUT, RedisTrouble, describe
from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.replication import Replication
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.core.event import VerifiedWebhook

_MAX_BATCH = 256  # events; a script blocks Redis while it runs, this many take about 2 ms
_MAX_BATCH_BYTES = 8 * 1024 * 1024
_BATCHES_AT_ONCE = 2
_MAX_WAIT = 1.1  # seconds for other batches; with REQUEST_TIMEOUT for one's own that stays under two

_accept = Script(__package__, "accept")


class Acceptor:
    """Puts verified arrivals into the inbox. Enter it as a context."""

    def __init__(self, redis: Redis, dedupe_window: float, clock: Callable[[], float], replicas: int = 0) -> None:
        """`dedupe_window` in seconds; `clock` gives Unix seconds; `replicas` must confirm an event as well."""
        self._line = OrderedConnection(redis)
        self._replication = Replication.of_replicas(replicas)
        self._window_ms = round(dedupe_window * 1000)
        self._clock = clock
        self._batcher: Batcher[VerifiedWebhook, bool] = Batcher(
            self._send,
            size_of=lambda arrival: len(arrival.body),
            most_items=_MAX_BATCH,
            most_bytes=_MAX_BATCH_BYTES,
            at_once=_BATCHES_AT_ONCE,
            longest_wait=_MAX_WAIT,
        )

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._batcher.__aexit__(*error)
        await self._line.aclose()

    async def accept(self, arrival: VerifiedWebhook) -> bool:
        """True if the event is new and now durable, False if it had been accepted before.

        Raises:
            StoreUnavailable: Redis did not confirm in time; the event may or may not be there, the dedupe will tell.
        """
        try:
            return await self._batcher.submit(arrival)
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis is too slow for what comes in: {error}") from None

    async def _send(self, arrivals: list[VerifiedWebhook]) -> list[bool]:
        wakeup = wakeups.ROUTE
        now_ms = round(self._clock() * 1000)
        arguments: list[bytes | str | int] = [
            keys.SEEN_PREFIX,
            self._window_ms,
            now_ms,
            wakeup.job_id,
            wakeup.payload,
            wakeups.LIFETIME_MS,
        ]
        for arrival in arrivals:
            arguments += (
                arrival.id,
                arrival.type,
                arrival.dialect,
                arrival.webhook_id,
                arrival.line or "",
                arrival.body,
            )
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                redis_keys = [keys.INBOX, keys.COUNTS, keys.QUEUE]
                results = await _accept.in_order(self._line, redis_keys, arguments, self._replication)
        except RedisTrouble as error:
            raise StoreUnavailable(f"Redis did not take the event: {describe(error)}") from error
        return [result == 1 for result in results]
