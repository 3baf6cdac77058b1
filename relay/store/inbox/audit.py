"""The audit of the inbox and the quarantine: what was deleted of them by hand is counted as lost, and logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_audit = Script(__package__, "audit_inbox")

log = structlog.get_logger()


class InboxAudit:
    """The audit, with the last count that it saw: a smaller one means that the counters were deleted.

    The count is also kept in a key of its own. If that is gone as well, the whole database was emptied.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = redis.key
        self._seen = 0

    async def run(self) -> None:
        """Compare the inbox and the quarantine with their counters, and correct the counters."""
        seen = self._seen  # before the read: another look may end first, and has seen more
        redis_keys = [self._key.inbox, self._key.quarantine, self._key.counts, self._key.audited]
        accepted, audited, inbox, quarantine = await _audit(self._redis, redis_keys, [])
        before, self._seen = max(audited, seen), accepted
        if accepted < before:
            what = self._key.counts if audited else "the whole database"
            log.error("inbox.state_lost", deleted=what, accepted_before=before, accepted=accepted)
        for key, surplus in ((self._key.inbox, inbox), (self._key.quarantine, quarantine)):
            if surplus < 0:
                log.error("inbox.state_lost", deleted=f"entries of {key}", lost=-surplus)
            elif surplus:
                log.error("inbox.state_lost", deleted=f"counters of {key} in {self._key.counts}", kept=surplus)
