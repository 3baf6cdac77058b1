"""What is deleted of the inbox, the quarantine or their counters by hand is counted, and the log says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.event import Dialect
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.audit import InboxAudit
from relay.store.inbox.quarantine import Quarantine, Readable
from relay.store.ledger.ledger import Ledger, Totals
from tests.building import webhook_of
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.support import Clock


@pytest.fixture
async def audit(redis: Redis, clock: Clock) -> InboxAudit:
    """An audit that has seen three accepted events and two quarantined bodies."""
    async with Acceptor(redis, 60.0, clock) as acceptor:
        for _ in range(3):
            await acceptor.accept(webhook_of())
    for body in (b"{", b"["):
        await Quarantine(redis).put(Dialect.V3, None, body, "not JSON", 1)
    audit = InboxAudit(redis)
    assert await logged(audit) == []
    return audit


async def logged(audit: InboxAudit) -> list[dict[str, Any]]:
    with capture_logs() as logs:
        await audit.run()
    return [{name: value for name, value in line.items() if name not in {"event", "log_level"}} for line in logs]


async def totals(redis: Redis) -> Totals:
    return await Ledger(redis).totals()


async def test_deleted_inbox_is_counted_as_lost(redis: Redis, audit: InboxAudit) -> None:
    await redis.delete(KEYS.inbox)
    assert not (await totals(redis)).balances
    assert await logged(audit) == [{"deleted": "entries of relay:inbox", "lost": 3}]
    assert await totals(redis) == Totals(3, 0, 2, 0, 0, 0, lost=3)
    assert (await totals(redis)).balances
    assert await logged(audit) == []


async def test_deleted_entry_of_the_inbox_is_counted_as_lost(redis: Redis, audit: InboxAudit) -> None:
    await redis.xtrim(KEYS.inbox, maxlen=2, approximate=False)
    assert await logged(audit) == [{"deleted": "entries of relay:inbox", "lost": 1}]
    assert (await totals(redis)).balances


async def test_deleted_quarantine_is_counted_as_dropped(redis: Redis, audit: InboxAudit) -> None:
    [first, _] = [body.entry async for body in Quarantine(redis).all()]
    await Quarantine(redis).retry([Readable(first, "e", "message.received", b"claim")], 60_000, 1)
    assert await logged(audit) == []
    await redis.delete(KEYS.quarantine)
    assert await logged(audit) == [{"deleted": "entries of relay:quarantine", "lost": 1}]
    assert (await totals(redis)).quarantine_dropped == 1


async def test_deleted_counters_restart_from_the_present_state(redis: Redis, audit: InboxAudit) -> None:
    await redis.delete(KEYS.counts)
    assert await logged(audit) == [
        {"deleted": "relay:counts", "accepted_before": 3, "accepted": 0},
        {"deleted": "counters of relay:inbox in relay:counts", "kept": 3},
        {"deleted": "counters of relay:quarantine in relay:counts", "kept": 2},
    ]
    assert await totals(redis) == Totals(3, 0, 2, 0, 0, 3)


async def test_emptied_database_is_named(redis: Redis, audit: InboxAudit) -> None:
    await redis.flushdb()
    assert await logged(audit) == [{"deleted": "the whole database", "accepted_before": 3, "accepted": 0}]
