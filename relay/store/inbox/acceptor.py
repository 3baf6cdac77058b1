"""Durable acceptance of webhooks, before the response.

A single script deduplicates every event of a batch, appends it to the inbox and wakes the router; concurrent requests
share its round trip. A caller knows within two seconds: its event is durable, or Redis is unavailable and the response
is 503.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import structlog

from relay.core.errors import StoreUnavailable
from relay.core.event import source_name
from relay.process.telemetry.context import trace_id_of
from relay.store import wakeups
from relay.store.driver.batcher import Batcher
from relay.store.driver.client import REDIS_ERRORS, REQUEST_TIMEOUT, describe
from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.replication import Replication
from relay.store.driver.scripts import Script
from relay.store.inbox.claims import claim_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis

_MAX_BATCH = 256  # events; a script blocks Redis while it runs, and this many take about 2 ms
_MAX_BATCH_BYTES = 8 * 1024 * 1024
_MAX_IN_FLIGHT = 2
_MAX_WAIT = 1.1  # seconds in the queue; with REQUEST_TIMEOUT for its own batch that is below two

_CONFLICT = 2  # of the script: accepted, though another event has claimed the id

_accept = Script(__package__, "accept")

log = structlog.get_logger()


class Acceptor:
    """An append of verified webhooks to the inbox. Enter it as a context."""

    def __init__(self, redis: Redis, dedupe_window: float, clock: Callable[[], float], replicas: int = 0) -> None:
        """`dedupe_window` in seconds; `clock` returns Unix seconds; `replicas` must confirm an event as well."""
        self._connection = OrderedConnection(redis)
        self._key = redis.key
        self._keys = (redis.key.inbox, redis.key.counts, redis.key.queue)
        self._replication = Replication.to_replicas(replicas)
        self._window_ms = round(dedupe_window * 1000)
        self._clock = clock
        self._batcher: Batcher[VerifiedWebhook, bool] = Batcher(
            self._send,
            size_of=lambda webhook: len(webhook.body),
            max_items=_MAX_BATCH,
            max_bytes=_MAX_BATCH_BYTES,
            max_in_flight=_MAX_IN_FLIGHT,
            max_wait=_MAX_WAIT,
        )

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._batcher.__aexit__(*error)
        await self._connection.aclose()

    async def accept(self, webhook: VerifiedWebhook) -> bool:
        """Store an event; return True if it is new and now durable, False if it was accepted before.

        Raises:
            StoreUnavailable: Redis did not confirm in time; the event may be stored, so a retry is deduplicated.
        """
        try:
            return await self._batcher.submit(webhook)
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis is too slow for the incoming webhooks: {error}") from None

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
            async with asyncio.timeout(REQUEST_TIMEOUT):
                results = await _accept.in_order(self._connection, self._keys, arguments, self._replication)
        except REDIS_ERRORS as error:
            raise StoreUnavailable(f"Redis did not accept the event: {describe(error)}") from error
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
