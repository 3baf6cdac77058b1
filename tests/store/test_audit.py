from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError

from relay.core.errors import StoreError
from relay.core.event_filter import EventFilter
from relay.store import audit
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


async def targets(redis: Redis, which: EventFilter | None = None) -> list[str]:
    return [record.target async for record in audit.records(redis, which or EventFilter())]


async def test_record_has_action_author_and_reason(redis: Redis) -> None:
    await audit.record(redis, "ann@host", "dead drop", "bot", 3, "wrong deploy é")
    await audit.record(redis, "ann@host", "bootstrap apply", "Linq")
    newest, oldest = [record async for record in audit.records(redis)]
    assert (oldest.who, oldest.command, oldest.target) == ("ann@host", "dead drop", "bot")
    assert (oldest.count, oldest.why) == (3, "wrong deploy é")
    assert (newest.count, newest.why) == (None, "")
    assert newest.at_ms >= oldest.at_ms > 1_700_000_000_000


async def test_stream_is_bounded_and_read_page_by_page(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_RECORDS", 200)
    monkeypatch.setattr(audit, "_PAGE", 7)
    for number in range(500):
        await audit.record(redis, "ann@host", "dead drop", str(number))
    found = await targets(redis)
    assert 200 <= len(found) <= 300
    assert found == [str(number) for number in reversed(range(500 - len(found), 500))]


async def test_noise_of_a_team_pushes_out_only_its_own(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_RECORDS_OF_TEAM", 100)
    await audit.record(redis, "ann@host", "dead drop", "operators")
    await audit.record(redis, "crm token", "token create", "theirs", team="crm")
    for number in range(400):
        await audit.record(redis, "erp token", "token create", str(number), team="erp")
    await audit.record(redis, "ann@host", "dead drop", "last")
    everything = await targets(redis)
    assert everything[0] == "last"
    assert everything[-2:] == ["theirs", "operators"]
    assert everything[1:-2] == [str(number) for number in range(399, 402 - len(everything), -1)]
    assert 100 <= len(everything) - 3 < 300
    assert [record.target async for record in audit.records(redis, team="crm")] == ["theirs"]
    ids = [record.id async for record in audit.records(redis)]
    assert len({*ids}) == len(ids)


async def test_records_are_filtered_by_time_and_reason(redis: Redis) -> None:
    for at, why in ((1000, "a deploy"), (2000, "a test"), (3000, "a deploy")):
        fields = {"who": "w", "command": "c", "target": str(at), "count": "", "why": why}
        await redis.xadd(KEYS.audit, fields, id=f"{at}-0")  # type: ignore[arg-type]
    assert await targets(redis, EventFilter(since_ms=2000)) == ["3000", "2000"]
    assert await targets(redis, EventFilter(until_ms=2000)) == ["1000"]
    assert await targets(redis, EventFilter(reason="deploy")) == ["3000", "1000"]


async def test_record_is_written_when_redis_is_full(redis: Redis) -> None:
    await redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(OutOfMemoryError):
            await redis.set("refused", "")
        await audit.record(redis, "ann@host", "dead drop", "bot")
    finally:
        await redis.config_set("maxmemory", 0)
    assert await targets(redis) == ["bot"]


async def test_change_that_cannot_be_recorded_is_an_error(redis: Redis) -> None:
    await redis.set(KEYS.audit, "not ours")
    with pytest.raises(StoreError, match=r"nothing was changed.*could not be recorded in relay:audit.*WRONGTYPE"):
        await audit.record(redis, "ann@host", "dead drop", "bot")
