"""The replay job: moves every replay on, each at its own pace, all of them behind what is new.

    history    the next entries of the topic, as many as the replay's rate and its lane's room allow
    move on    one script: the wanted ones into the lane's replay stream, and the cursor past them

A lane never has more than a few hundred replayed events waiting, so a replay of a million neither fills Redis nor
stands before a dead letter that is sent back; the lane itself takes them only where its topic leaves room
(`Lane.read_new`). While a lane is paused or its breaker is not closed, its replays wait. Whoever loses the job loses
nothing: the cursor and the events are moved in one step.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.token_bucket import TokenBucket
from relay.store import keys
from relay.store.driver.client import retry_until_redis_answers
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from relay.store.topics.history import History, entry_matches
from relay.store.topics.replays import Replays, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.config.file import ConfigFile
    from relay.core.config.relay_toml import Subscription
    from relay.store.driver.lease import Lease
    from relay.store.topics.replays import Replay

_MAX_WAITING = 300  # replayed events in a lane, those that wait for a retry included
_PAGE = 200  # entries at once
_TICK = 0.1  # seconds between two steps that the rate or the lane has bounded
_MIN_PAUSE = 0.01  # seconds between two steps that nothing has bounded: others work in this process
_RUN = 60.0  # seconds before the job ends and is rung again, so that another worker can have it

log = structlog.get_logger()


class Replayer:
    """Moves replays on."""

    def __init__(self, redis: Redis, rules: ConfigFile, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._clock = clock
        self._replays = Replays(redis)
        self._holds = Suspensions(redis)

    async def drain(self, lease: Lease, stop: asyncio.Event) -> None:
        """Moves replays on until none runs, it has run for a while, is stopped or loses its lease."""
        began = self._now()
        buckets: dict[str, TokenBucket] = {}
        while not (stop.is_set() or lease.lost.is_set()):
            replays = await retry_until_redis_answers("reading replays", self._replays.running)
            if not replays or self._now() - began > _RUN:
                return
            steps = [await self._safely(replay, buckets) for replay in replays]
            with suppress(TimeoutError):
                async with asyncio.timeout(_MIN_PAUSE if any(steps) else _TICK):
                    await stop.wait()

    async def _safely(self, replay: Replay, buckets: dict[str, TokenBucket]) -> bool:
        """One step of one replay; whether the next may follow at once. One that breaks must not hold up the others."""
        step = partial(self._step, replay, buckets)
        try:
            return await retry_until_redis_answers("moving a replay on", step)
        except Exception as error:
            log.exception("replay.error", replay=replay.id)
            reason = f"relay: {error!r}"
            await retry_until_redis_answers("ending a replay", lambda: self._end(replay, State.FAILED, reason))
            return False

    async def _step(self, replay: Replay, buckets: dict[str, TokenBucket]) -> bool:
        subscription = self._subscription(replay.order.to)
        if subscription is None:
            await self._end(replay, State.FAILED, f'subscription "{replay.order.to}" has left relay.toml')
            return False
        if replay.is_through:
            await self._end(replay, State.DONE, _loss(replay))
            return False
        if replay.id not in buckets:
            await Lane(self._redis, subscription.name, subscription.topic).ensure()
            buckets[replay.id] = TokenBucket(replay.order.rate, self._now())
        bucket = buckets[replay.id]
        most = min(bucket.available(self._now()), await self._room(subscription), _PAGE)
        return most > 0 and await self._move(replay, most, bucket)

    async def _move(self, replay: Replay, most: int, bucket: TokenBucket) -> bool:
        """Moves a replay on by up to `most` events; whether there was nothing that bounded it."""
        wanted = replay.order.wanted
        page = most if wanted.is_any else _PAGE
        rows = await History(self._redis, replay.order.topic).read(replay.cursor, replay.span.end, page)
        chosen = [position for position, (_, fields) in enumerate(rows) if entry_matches(wanted, fields)]
        seen = len(rows) if len(chosen) < most else chosen[most - 1] + 1
        is_last = seen == len(rows) < page
        cursor = replay.span.end if is_last else rows[seen - 1][0]
        entries = [rows[position][0] for position in chosen[:most]]
        for _ in range(await self._replays.move_on(replay, cursor, seen, entries, self._now_ms())):
            bucket.take()
        return is_last or len(entries) < most

    async def _room(self, subscription: Subscription) -> int:
        """How many replayed events the lane may be given now."""
        if subscription.paused or await self._holds.is_suspended(subscription.name):
            return 0
        return max(_MAX_WAITING - int(await self._redis.xlen(keys.lane(subscription.name, "replay"))), 0)

    async def _end(self, replay: Replay, state: State, reason: str = "") -> None:
        if not await self._replays.end(replay.id, state, reason, self._now_ms()):
            return
        write = log.info if state is State.DONE and not reason else log.error
        write(
            "replay.ended",
            replay=replay.id,
            topic=replay.order.topic,
            subscription=replay.order.to,
            state=state,
            seen=replay.seen,
            sent=replay.sent,
            reason=reason or None,
        )

    def _subscription(self, name: str) -> Subscription | None:
        return next((one for one in self._rules.current.config.subscriptions if one.name == name), None)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _loss(replay: Replay) -> str:
    return f"trimmed from the topic before their turn came: {replay.missed}" if replay.missed else ""
