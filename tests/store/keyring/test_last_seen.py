from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event import Dialect
from relay.store.keyring import last_seen
from relay.store.keyring.last_seen import LastEvent, LastSeen, last_events
from tests.building import LINE, webhook_of
from tests.conftest import NOW
from tests.support import eventually

if TYPE_CHECKING:
    import pytest

    from relay.store.driver.client import Redis


async def test_last_event_of_each_line_is_kept_with_its_generation(redis: Redis) -> None:
    async with LastSeen(redis) as noted:
        for generation, webhook in ((1, webhook_of()), (2, webhook_of()), (3, webhook_of(line=None))):
            noted.record(webhook._replace(generation=generation), NOW + generation)
        noted.record(webhook_of(line=None)._replace(dialect=Dialect.V2), NOW)
        assert await last_events(redis) == {}  # not written during acceptance
    at_ms = int(NOW * 1000)
    assert await last_events(redis) == {
        LINE: LastEvent(at_ms + 2000, 2),
        "account": LastEvent(at_ms + 3000, 3),
        "v2": LastEvent(at_ms, 0),
    }


async def test_last_seen_is_written_periodically_and_after_an_outage(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_seen, "_INTERVAL", 0.01)
    async with LastSeen(redis) as noted:
        noted.record(webhook_of(), NOW)
        await eventually(lambda: last_events(redis))
        await redis.client_kill_filter(_type="normal", skipme=True)
        noted.record(webhook_of(), NOW + 5)

        async def is_written() -> bool:
            return (await last_events(redis))[LINE].at_ms == int((NOW + 5) * 1000)

        await eventually(is_written)
