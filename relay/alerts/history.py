"""The history of the counters of webhooks, a stream in Redis with an entry a minute: what conditions compare with."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.alerts.samples import AGES, DAY, HOUR, Counts
from relay.store.driver.client import ask_together, numbers_in
from relay.store.ledger.whole import of_each

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis

_KEPT = DAY + HOUR
_MINUTE_MS = 60_000
_UNAVAILABLE = ("store_unavailable", "secret_unknown", "internal")
"""The codes of refusals that have the status 503 (`relay.web.responses`)."""


async def count(redis: Redis) -> Counts:
    """Return the counters of webhooks now, of all shards."""
    return Counts(*map(sum, zip(*await of_each(redis, _count), strict=True)))


async def _count(redis: Redis) -> Counts:
    def queue(pipe: Pipeline) -> None:
        pipe.hgetall(redis.key.counts)
        pipe.hgetall(redis.key.refused)

    counts, refused = (numbers_in(rows) for rows in await ask_together(redis, queue))
    accepted, unavailable = counts.get("accepted", 0), sum(refused.get(code, 0) for code in _UNAVAILABLE)
    repeated, quarantined = counts.get("duplicate", 0), counts.get("quarantined", 0)
    return Counts(accepted, accepted + repeated + quarantined + sum(refused.values()), unavailable)


async def record(redis: Redis, counts: Counts, now: float) -> None:
    """Add `counts` to the history, unless this minute has an entry; `now` is Unix seconds."""
    minute_ms = int(now * 1000) // _MINUTE_MS * _MINUTE_MS
    with suppress(ResponseError):  # the id is not above the last one: this minute has its entry
        oldest = minute_ms - round(_KEPT * 1000)
        fields: Any = counts._asdict()
        await redis.xadd(redis.key.alerts_history, fields, id=f"{minute_ms}-1", minid=str(oldest), approximate=True)


async def earlier(redis: Redis, now: float) -> tuple[dict[float, Counts], Counts | None]:
    """Return the counts of each of `AGES` ago, as far as the history goes back, and its oldest ones."""

    def queue(pipe: Pipeline) -> None:
        pipe.xrange(redis.key.alerts_history, count=1)
        for age in AGES:
            pipe.xrevrange(redis.key.alerts_history, str(round((now - age) * 1000)), "-", count=1)

    first, *found = await ask_together(redis, queue)
    ages = {age: _counts(rows) for age, rows in zip(AGES, found, strict=True) if rows}
    return ages, _counts(first) if first else None


def _counts(rows: Any) -> Counts:
    fields = numbers_in(rows[0][1])
    return Counts(*(fields.get(name, 0) for name in Counts._fields))
