"""Claims on the former shards of events that have moved since the relay grew (`sharding.growth.state`).

A repeat of an event that was accepted before the fences has its claim on the former shard. No claim can be added there
for such an event any more, so what is found holds until it expires. The lookups of concurrent webhooks share a round
trip, for each shard.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from relay.core.errors import StoreUnavailable
from relay.process.timings import DEFAULTS
from relay.store.driver.batcher import Batcher
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.scripts import Script
from relay.store.inbox.claims import claim_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.event import VerifiedWebhook
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis

_MAX_BATCH = 256

_look = Script(__package__, "former_claims")


class FormerUnavailable(StoreUnavailable):
    """The former shard of an event does not tell if it has accepted it."""


async def claimed_before(shard: Redis, claims: Sequence[tuple[str, bytes]], now_ms: int) -> list[bool]:
    """Return for each event (its id and its claim) if its former shard has accepted it; each such repeat is counted."""
    flat = [part for claim in claims for part in claim]
    results = await _look(shard, [shard.key.counts], [shard.key.seen_prefix, now_ms, *flat])
    return [result == 1 for result in results]


class FormerClaims:
    """The claims on one former shard. Enter it as a context."""

    def __init__(self, shard: Redis, clock: Callable[[], float], timings: Timings = DEFAULTS) -> None:
        """`clock` returns Unix seconds."""
        self._key = shard.key
        self._connection = OrderedConnection(shard)
        self._clock = clock
        self._attempt = timings.accept_attempt
        self._batcher: Batcher[VerifiedWebhook, bool] = Batcher(
            self._send,
            size_of=lambda _: 0,
            max_items=_MAX_BATCH,
            max_bytes=1,
            max_in_flight=2,
            max_wait=timings.accept_wait - timings.accept_attempt,
            connection=self._connection,
        )

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._batcher.__aexit__(*error)

    async def have(self, webhook: VerifiedWebhook) -> bool:
        """Return True if the shard has accepted the event; the repeat is counted there.

        Raises:
            FormerUnavailable: the shard does not answer in time.
        """
        try:
            return await self._batcher.submit(webhook)
        except TimeoutError as error:
            raise FormerUnavailable(f"Redis is too slow for the incoming webhooks: {error}") from None

    async def _send(self, webhooks: list[VerifiedWebhook]) -> list[bool]:
        arguments: list[bytes | str | int] = [self._key.seen_prefix, round(self._clock() * 1000)]
        for webhook in webhooks:
            arguments += (webhook.id, claim_of(webhook.dialect, webhook.line, webhook.body, webhook.account))
        try:
            async with asyncio.timeout(self._attempt):
                results = await _look.in_order(self._connection, [self._key.counts], arguments)
        except REDIS_ERRORS as error:
            raise FormerUnavailable(f"Redis did not tell if the event was accepted: {describe(error)}") from error
        return [result == 1 for result in results]
