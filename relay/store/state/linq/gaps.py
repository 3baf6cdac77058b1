"""Samples of gaps and backfills: what the last run of each account found, the runs so far, and an outage that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.metrics import declared
from relay.store.driver.client import ask
from relay.store.gaps.outages import pending_outage
from relay.store.gaps.walk_record import RUNS, Mode, WalkRecord, WalkState
from relay.store.ledger.whole import of_each
from relay.store.state.sample import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

_STUCK_MS = 900_000  # without a save: it waits ten minutes for room in the inbox, and two for an answer of Linq's

_COMMANDS = {Mode.LOOK: "gaps", Mode.FILL: "backfill"}


async def gap_samples(redis: Redis, config: RelayConfig | None, now_ms: int) -> AsyncIterator[Sample]:
    """Yield the samples of gaps and backfills."""
    puts = await of_each(redis, lambda shard: ask(shard.hget(shard.key.counts, "backfilled")))
    yield Sample(declared.BACKFILLED_EVENTS, sum(int(put or 0) for put in puts))
    ended = [(mode, state) for mode in Mode for state in (WalkState.DONE, WalkState.FAILED)]
    counts = await ask(redis.hmget(redis.key.gaps, [RUNS.format(mode=mode, state=state) for mode, state in ended]))
    for (mode, state), count in zip(ended, counts, strict=True):
        yield Sample(declared.GAP_RUNS, int(count or 0), (_COMMANDS[mode], state))
    if (outage := await pending_outage(redis)) is not None:
        yield Sample(declared.OUTAGE_NOT_BACKFILLED, outage.to_ms / 1000)
    accounts = config.linq.accounts if config is not None else ()
    for account in (None, *(each.name for each in accounts)):
        walk = await WalkRecord(redis, account).read()
        if walk is not None:
            labels = (_COMMANDS[walk.mode],) if account is None else (_COMMANDS[walk.mode], account)
            at_ms = max(walk.at_ms, walk.started_ms)
            is_stuck = walk.state is WalkState.WALKING and now_ms - at_ms > _STUCK_MS
            yield Sample(declared.GAP_LAST_RUN, at_ms / 1000, labels)
            yield Sample(declared.GAP_LAST_RUN_FAILED, walk.state is WalkState.FAILED or is_stuck, labels)
            yield Sample(declared.GAP_MESSAGES_MISSING, walk.left, labels[1:])
