"""Changes of lines that events tell (flagged, released), recorded as they pass the router.

They are recorded before their batch is committed: a router that is killed in between has its successor record them
again, which changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.core.event import Event
from relay.linq.payloads.line_changes import LINE_CHANGES, line_change_of
from relay.store.driver.client import retry_until_redis_answers
from relay.store.isolation import Isolation, checking_types
from relay.store.lines.line_keys import LineKeys
from relay.store.lines.linq_facts import record_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis
    from relay.store.inbox.inbox import InboxEntry
    from workers.routing.decoder import Undecodable

log = structlog.get_logger()


async def record_line_changes(
    redis: Redis, entries: Sequence[InboxEntry], events: Sequence[Event | Undecodable]
) -> None:
    """Record the changes of lines in a batch; sends no command if it has none.

    An event tells only of the line that it is of: that of the secret which verified it, or one of its account.
    """
    telling = [
        (entry, event)
        for entry, event in zip(entries, events, strict=True)
        if isinstance(event, Event) and event.type in LINE_CHANGES
    ]
    found = [
        change._replace(account=entry.account)
        for entry, event in telling
        if (change := line_change_of(event, entry.body, entry.at_ms)) is not None and change.line == event.line
    ]
    if not found:
        return
    key = LineKeys(redis).facts
    recording = retry_until_redis_answers("recording lines", lambda: checking_types(record_changes(redis, found)))
    await Isolation(redis).contain("lines", key, recording, {key: "hash"})
    for change in found:
        write = log.warning if change.is_released or change.status == "FLAGGED" else log.info
        write("line.changed", **change._asdict())
