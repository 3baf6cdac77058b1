"""Deduplication is scoped to what was proved: the holder of one secret cannot claim the ids of other owners' events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.core.event import Dialect
from relay.store.driver.client import ask
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.claims import CLAIM_BYTES, claim_of, repeats_in
from relay.store.inbox.quarantine import Quarantine, Readable
from tests.building import LINE, OTHER_LINE, webhook_of
from tests.support import KEYS, hash_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.support import Clock

WINDOW = 3600.0
EVENT = webhook_of(event_id="e1", line=LINE)
"""An event of a line."""
RESHAPED = EVENT._replace(body=EVENT.body.replace(b": ", b":"))
"""The same event, serialised in another way."""
FORGED = EVENT._replace(body=b'{"event_id": "e1", "event_type": "x"}')


@pytest.mark.parametrize(
    ("first", "second", "is_new"),
    [
        (EVENT, EVENT, False),
        (EVENT, RESHAPED, False),  # the same subscription: a retry
        (EVENT, EVENT._replace(generation=2), False),  # during a rotation
        (EVENT._replace(line=OTHER_LINE), EVENT, False),  # one event over two of our URLs
        (EVENT._replace(line=None), EVENT, False),  # over the account's and the line's
        (FORGED._replace(line=OTHER_LINE), EVENT, True),  # claimed by another line
        (FORGED._replace(line=None), EVENT, True),
        (FORGED._replace(line=None, dialect=Dialect.V2), EVENT, True),  # claimed by v2
        (EVENT._replace(line=None, dialect=Dialect.V2), EVENT, True),  # even with the same bytes
        (EVENT, FORGED._replace(line=OTHER_LINE), True),
    ],
)
async def test_only_the_same_owner_or_body_is_a_duplicate(
    redis: Redis, clock: Clock, first: object, second: object, is_new: object
) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        for webhook, expected in ((first, True), (second, is_new), (first, False), (second, False)):
            assert await acceptor.accept(webhook) is expected  # type: ignore[arg-type]  # parametrized
    assert await redis.xlen(KEYS.inbox) == 1 + bool(is_new)


async def test_conflict_is_counted_and_logged_with_both_accepted(redis: Redis, clock: Clock) -> None:
    forged = FORGED._replace(line=OTHER_LINE)
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        with capture_logs() as logs:
            assert await asyncio.gather(*map(acceptor.accept, (forged, EVENT))) == [True, True]
    assert await hash_of(redis, KEYS.counts) == {"accepted": "2", "id_conflict": "1"}
    assert [(line["event"], line["id"], line["line"]) for line in logs] == [("event.id_conflict", "e1", LINE)]


async def test_dedupe_key_of_another_type_is_replaced(redis: Redis, clock: Clock) -> None:
    await ask(redis.hset(KEYS.seen_prefix + "e1", "a", "b"))
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        assert await asyncio.gather(*map(acceptor.accept, (webhook_of(), EVENT, webhook_of()))) == [True] * 3
        assert await acceptor.accept(EVENT) is False


async def test_claim_costs_redis_no_additional_memory(redis: Redis, clock: Clock) -> None:
    with_claim, without = (f"{KEYS.seen_prefix}{digit * 36}" for digit in "12")  # a UUID is as long
    await redis.set(without, "", px=1000)
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        await acceptor.accept(webhook_of(event_id="1" * 36))
    assert await redis.strlen(with_claim) == CLAIM_BYTES
    assert await redis.memory_usage(with_claim) == await redis.memory_usage(without)


async def test_retried_body_respects_the_claims_on_its_id(redis: Redis, clock: Clock) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        await acceptor.accept(EVENT)
    for line, body, expected in ((LINE, EVENT.body, (0, 1)), (OTHER_LINE, FORGED.body, (1, 0))):
        await Quarantine(redis).put(Dialect.V3, line, body, "not parsable", 0)
        [row] = [row async for row in Quarantine(redis).all()]
        readable = Readable(row.entry, "e1", "x", claim_of(Dialect.V3, line, body))
        assert await Quarantine(redis).retry([readable], 60_000, 7) == expected


async def test_repeats_are_counted_and_end_with_the_claims(redis: Redis, clock: Clock) -> None:
    key = KEYS.seen_prefix + "e1"
    conflicting = FORGED._replace(line=OTHER_LINE)
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        await acceptor.accept(EVENT)
        assert repeats_in(await redis.get(key) or b"") is None
        await redis.pexpire(key, 5_000)
        for expected in (1, 2):
            clock.now += 1
            assert await acceptor.accept(EVENT) is False
            assert repeats_in(await redis.get(key) or b"") == (expected, clock.now)
        assert 0 < await redis.pttl(key) <= 5_000
        assert await acceptor.accept(conflicting) is True
        assert [await acceptor.accept(webhook) for webhook in (EVENT, conflicting, RESHAPED)] == [False] * 3
    assert repeats_in(await redis.get(key) or b"") == (5, clock.now)
    assert await redis.strlen(key) == 3 * CLAIM_BYTES
    assert repeats_in(bytes(7)) is None
