"""The audit of the inbox and the quarantine: what was deleted of them by hand is counted as lost, and logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from redis.asyncio import Redis

_audit = Script(__package__, "audit_inbox")

log = structlog.get_logger()


class InboxAudit:
    """The audit, with the last count that it saw: a smaller one means that the counters were deleted."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._accepted = 0

    async def run(self) -> None:
        """Compare the inbox and the quarantine with their counters, and correct the counters."""
        await self._compare_with_last()
        inbox, quarantine = await _audit(self._redis, [keys.INBOX, keys.QUARANTINE, keys.COUNTS], [])
        for key, surplus in ((keys.INBOX, inbox), (keys.QUARANTINE, quarantine)):
            if surplus < 0:
                log.error("inbox.state_lost", deleted=f"entries of {key}", lost=-surplus)
            elif surplus:
                log.error("inbox.state_lost", deleted=f"counters of {key} in {keys.COUNTS}", kept=surplus)

    async def _compare_with_last(self) -> None:
        reply = self._redis.hget(keys.COUNTS, "accepted")
        accepted = int(await ask(reply) or 0)
        if accepted < self._accepted:
            is_empty = not await self._redis.exists(keys.LANES, keys.TOPICS, keys.INBOX, keys.QUARANTINE)
            what = "the whole database" if is_empty else keys.COUNTS
            log.error("inbox.state_lost", deleted=what, accepted_before=self._accepted, accepted=accepted)
        self._accepted = accepted
