"""The end of a shadow: its lane is dropped once the rules have been without it for a while.

The rules of two workers can differ for a moment, so the first look that misses a shadow only notes the time. A shadow
that became an ordinary subscription keeps its lane and loses its mark. A stored one that is not in force, since
something contradicts it, stays: only a deletion ends it.

Each shard drops its own lane. The first one does so last, and then forgets a stored subscription: until then its name
cannot be given again, and no new one can get what an old lane has left.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from relay.core.errors import StoreError
from relay.store.driver.client import REDIS_ERRORS, ask
from relay.store.lanes.position import drop_lane
from relay.store.shadow_marks import ShadowMark, is_marked, mark_shadow, shadow_marks, unmark_shadow
from relay.store.stored_subscriptions.hash import StoredSubscriptions
from relay.store.stored_subscriptions.record import parse_record

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis
    from relay.store.stored_subscriptions.record import StoredSubscription

_AFTER_MS = 45_000  # retention runs once a minute: the second look that misses it

log = structlog.get_logger()


async def end_removed_shadows(redis: Redis, config: RelayConfig, now_ms: int, home: Redis) -> None:
    """Mark the shadows of the rules, and drop the lanes of those that the rules no longer have.

    The stored subscriptions are on the first shard, `home`.
    """
    known = {each.name: each for each in config.subscriptions}
    marks = await shadow_marks(redis)
    for name, original in config.shadows.items():
        if name not in marks:  # its worker, which marks it, begins with the first event
            await mark_shadow(redis, name, ShadowMark(original))
    for name, mark in marks.items():
        if name in known:
            if known[name].shadow_of is None:
                await unmark_shadow(redis, name)
            elif mark.missing_ms is not None:
                await mark_shadow(redis, name, ShadowMark(mark.original))
            continue
        record = await _record(home, name)
        if record is not None and not record.deleted:
            continue
        if mark.missing_ms is None:
            await mark_shadow(redis, name, mark._replace(missing_ms=now_ms))
        elif now_ms - mark.missing_ms >= _AFTER_MS and not await _is_on_others(redis, name):
            await _end(redis, home, name, mark, record)


async def _end(redis: Redis, home: Redis, name: str, mark: ShadowMark, record: StoredSubscription | None) -> None:
    await drop_lane(redis, name)
    if record is not None and redis is home:
        await StoredSubscriptions(home).forget(name, record.version)
    elif record is not None and not await is_marked(home, name):
        await mark_shadow(home, name, mark)
    await unmark_shadow(redis, name)
    log.info("shadow.ended", subscription=name, shadow_of=mark.original)


async def _is_on_others(redis: Redis, name: str) -> bool:
    """Return True, of the first shard, while another one has the shadow or cannot be asked; False of another shard."""
    with suppress(*REDIS_ERRORS):
        return any([await is_marked(shard, name) for shard in redis.others])
    return True


async def _record(redis: Redis, name: str) -> StoredSubscription | None:
    row: Any = await ask(redis.hget(redis.key.subscriptions, name))
    try:
        return None if row is None else parse_record(name.encode(), row)
    except StoreError:  # damaged, which `relay doctor` reports
        return None
