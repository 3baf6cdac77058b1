"""The alerts in Redis: what is firing or pending, and the webhooks that are still to be sent.

The beginning of an alert and its webhook are stored in one transaction, which only the holder of the lease can make:
of several workers exactly one sends it, and a restart neither loses nor repeats it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from redis.exceptions import WatchError

from relay.alerts import LEASE
from relay.alerts.lifecycle import ALERT
from relay.store.driver.client import ask
from relay.store.driver.fenced_reads import LeaseLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.alerts.lifecycle import Alert
    from relay.store.driver.client import Redis

_MAX_OUTBOX = 1000
_FIRST_WAIT, _MAX_WAIT = 30.0, 600.0  # seconds until a webhook that was not taken is sent again
_GIVE_UP = 86400.0  # seconds for which a webhook is tried: an older one helps no operator


class Waiting(NamedTuple):
    """A webhook that is not sent yet."""

    entry: bytes
    webhook_id: str
    body: bytes
    at_ms: int
    """Unix milliseconds."""


class Sending(NamedTuple):
    """The state of sending after a failure; all empty after a success."""

    failures: int = 0
    due_ms: int = 0
    """Time of the next try."""
    error: str = ""


async def watched(redis: Redis) -> dict[str, Alert]:
    """Return every alert that is firing or pending, by its key; a damaged record is left out."""
    rows = await ask(redis.hgetall(redis.key.alerts))
    alerts = {}
    for key, text in rows.items():
        try:
            alerts[key.decode()] = ALERT.validate_json(text)
        except ValidationError:
            continue
    return alerts


async def save(redis: Redis, token: str, alerts: dict[str, Alert], messages: Sequence[bytes], now_ms: int) -> None:
    """Replace the alerts, and add the webhooks about what began and ended; `token` is that of the lease.

    Raises:
        LeaseLost: another worker holds the lease.
    """
    lease = redis.key.lease(redis.key.job_id(LEASE))
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(lease)
        held_by: Any = await pipe.get(lease)
        if held_by != token.encode():
            raise LeaseLost
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.delete(redis.key.alerts)
        if alerts:
            pipe.hset(redis.key.alerts, mapping={key: ALERT.dump_json(alert) for key, alert in alerts.items()})
        for message in messages:
            pipe.xadd(redis.key.alerts_outbox, {"at": now_ms, "body": message}, maxlen=_MAX_OUTBOX, approximate=True)
        try:
            await pipe.execute()
        except WatchError:
            raise LeaseLost from None


async def outbox(redis: Redis, count: int) -> list[Waiting]:
    """Return the webhooks that wait to be sent, oldest first."""
    rows = await redis.xrange(redis.key.alerts_outbox, count=count)
    return [
        Waiting(entry, f"alert_{entry.decode()}", fields.get(b"body", b""), int(entry.partition(b"-")[0]))
        for entry, fields in rows
    ]


async def outbox_length(redis: Redis) -> int:
    """Count the webhooks that wait to be sent."""
    return int(await redis.xlen(redis.key.alerts_outbox))


def is_stale(waiting: Waiting, now: float) -> bool:
    """Return True if a webhook is too old to be sent; `now` is Unix seconds."""
    return now - waiting.at_ms / 1000 > _GIVE_UP


async def remove(redis: Redis, waiting: Waiting) -> None:
    """Remove a webhook that was sent, or given up."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xdel(redis.key.alerts_outbox, waiting.entry)
        pipe.delete(redis.key.alerts_sending)
        await pipe.execute()


async def sending(redis: Redis) -> Sending:
    """Return the state of sending."""
    rows = await ask(redis.hgetall(redis.key.alerts_sending))
    fields = {name.decode(): text.decode(errors="replace") for name, text in rows.items()}
    return Sending(int(fields.get("failures", 0)), int(fields.get("due", 0)), fields.get("error", ""))


async def record_failure(redis: Redis, former: Sending, error: str, now: float) -> Sending:
    """Record that a webhook was not taken, and return the state after it; `now` is Unix seconds."""
    wait = min(_FIRST_WAIT * 2 ** min(former.failures, 16), _MAX_WAIT)
    after = Sending(former.failures + 1, round((now + wait) * 1000), error)
    fields = {"failures": after.failures, "due": after.due_ms, "error": error}
    await ask(redis.hset(redis.key.alerts_sending, mapping=fields))
    return after
