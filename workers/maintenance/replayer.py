"""The replay job: advances every replay, each at its own rate, all of them behind new events.

    read       the next entries of the topic, as many as the replay's rate and its lane's capacity allow
    advance    one script: appends the matching ones to the lane's replay stream and moves the cursor past them

A lane never has more than a few hundred replayed events waiting, so a replay of a million neither fills Redis nor
delays the replay of a dead letter; the lane reads them only while its topic leaves capacity (`Lane.read_new`). While a
lane is paused or its breaker is not closed, its replays wait. A job that is lost loses no event, since the cursor and
the events move in one step.

With several shards each has such a job, for the part of a replay there. That of the first shard also ends the replay,
once all parts have ended (`topics.whole.replays`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.token_bucket import TokenBucket
from relay.process.timings import DEFAULTS, Timings
from relay.store.driver.client import REDIS_ERRORS, retry_until_redis_answers
from relay.store.isolation import Isolation
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from relay.store.topics.history import History, entry_matches
from relay.store.topics.replays import Replays, State
from relay.store.topics.whole.replays import WholeReplays, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.config.file import RulesInForce
    from relay.core.config.relay_toml import Subscription
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from relay.store.topics.replays import Replay

_MAX_WAITING = 300  # replayed events in a lane, including those that wait for a retry
_PAGE = 200  # entries a read
_LOOK = 5  # ticks from one look at the parts of a replay on other shards to the next

log = structlog.get_logger()


class Replayer:
    """The drain of all replays."""

    def __init__(  # noqa: PLR0913  the parts of a worker
        self,
        redis: Redis,
        rules: RulesInForce,
        clock: Callable[[], float],
        timings: Timings = DEFAULTS,
        max_waiting: int = _MAX_WAITING,
        page: int = _PAGE,
        *,
        home: Redis | None = None,
    ) -> None:
        """`clock` gives Unix seconds; `home` is the first shard, if this is another one."""
        self._max_waiting = max_waiting
        self._page = page
        self._redis = redis
        self._key = redis.key
        self._rules = rules
        self._clock = clock
        self._timings = timings
        self._replays = Replays(redis)
        self._home = home
        self._whole = WholeReplays(redis)
        self._looked: dict[str, float] = {}
        """The time of the last look at the parts of a replay."""
        self._suspensions = Suspensions(home or redis)
        self._isolation = Isolation(redis)

    async def drain(self, lease: Lease, stop: asyncio.Event) -> None:
        """Advance replays until none is running, the drain has run for long, `stop` is set or the lease is lost."""
        began = self._now()
        buckets: dict[str, TokenBucket] = {}
        self._looked.clear()
        while not (stop.is_set() or lease.lost.is_set()):
            replays = await retry_until_redis_answers("reading replays", self._replays.running)
            if not replays or self._now() - began > self._timings.run:
                return
            steps = [await self._step_safely(replay, buckets) for replay in replays]
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timings.replay_pause if any(steps) else self._timings.replay_tick):
                    await stop.wait()

    async def _step_safely(self, replay: Replay, buckets: dict[str, TokenBucket]) -> bool:
        """Make one step of a replay. Returns True if it was not limited.

        A bug in it fails this replay and no other; one that Redis refuses, such as for a key of a wrong type, waits.
        """
        types = {self._key.replay(replay.id): "hash", self._key.topic(replay.order.topic): "stream"}
        types |= self._key.lane_types(replay.order.to)

        async def step() -> bool | None:
            return await self._isolation.contain("replay", replay.id, self._step_or_fail(replay, buckets), types)

        return bool(await retry_until_redis_answers("advancing a replay", step))

    async def _step_or_fail(self, replay: Replay, buckets: dict[str, TokenBucket]) -> bool:
        try:
            return await self._step(replay, buckets)
        except REDIS_ERRORS:
            raise
        except Exception as error:
            log.exception("replay.error", replay=replay.id)
            await self._end(replay, State.FAILED, f"relay: {error!r}")
            return False

    async def _step(self, replay: Replay, buckets: dict[str, TokenBucket]) -> bool:
        subscription = self._subscription(replay.order.to)
        if subscription is None:
            await self._end(replay, State.FAILED, f'subscription "{replay.order.to}" is not in relay.toml any more')
            return False
        if replay.parts and self._is_look_due(replay, buckets):
            replay = await self._whole.settled(replay)
        if replay.is_complete:
            await self._end_complete(replay)
            return False
        if replay.id not in buckets:
            if self._home is not None and (end := await _end_at(self._home, replay.id)) is not None:
                await self._end(replay, *end)
                return False
            await Lane(self._redis, subscription.name, subscription.topic).ensure()
            buckets[replay.id] = TokenBucket(replay.rate, self._now())
        bucket = buckets[replay.id]
        limit = min(bucket.available(self._now()), await self._capacity(subscription), self._page)
        return limit > 0 and await self._advance(replay, limit, bucket)

    async def _advance(self, replay: Replay, limit: int, bucket: TokenBucket) -> bool:
        """Advance a replay by at most `limit` events. Returns True if the limit was not reached."""
        history_filter = replay.order.event_filter
        page = limit if history_filter.is_any else self._page
        rows = await History(self._redis, replay.order.topic).read(replay.cursor, replay.span.end, page)
        matching = [position for position, (_, fields) in enumerate(rows) if entry_matches(history_filter, fields)]
        seen = len(rows) if len(matching) < limit else matching[limit - 1] + 1
        is_last = seen == len(rows) < page
        cursor = replay.span.end if is_last else rows[seen - 1][0]
        entries = [rows[position][0] for position in matching[:limit]]
        for _ in range(await self._replays.advance(replay, cursor, seen, entries, self._now_ms())):
            bucket.take()
        return is_last or len(entries) < limit

    async def _capacity(self, subscription: Subscription) -> int:
        """Return the number of replayed events that the lane can take now."""
        if subscription.paused or await self._suspensions.is_suspended(subscription.name):
            return 0
        return max(self._max_waiting - int(await self._redis.xlen(self._key.lane(subscription.name, "replay"))), 0)

    def _is_look_due(self, replay: Replay, buckets: Mapping[str, TokenBucket]) -> bool:
        """Return True if it is time to look at the parts of a replay: at the beginning of a drain, and at its end."""
        if replay.id in buckets and not replay.is_complete:
            return False
        now = self._now()
        if now - self._looked.get(replay.id, -1e9) < _LOOK * self._timings.replay_tick:
            return False
        self._looked[replay.id] = now
        return True

    async def _end_complete(self, replay: Replay) -> None:
        """End a replay whose events on this shard are sent, unless parts of it on others run on."""
        ends = [part.ended for part in replay.parts]
        if None in ends:
            return
        failed = next((end for end in ends if end is not None and end.state != State.DONE), None)
        whole = joined(replay, {})
        if failed is not None:
            await self._end(whole, State(failed.state), failed.reason)
        else:
            await self._end(whole, State.DONE, _missed_reason(whole))

    async def _end(self, replay: Replay, state: State, reason: str = "") -> None:
        if not await self._replays.end(replay.id, state, reason, self._now_ms()):
            return
        if self._home is not None:  # the first shard tells the end of the whole
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
        return next((known for known in self._rules.current.config.subscriptions if known.name == name), None)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _end_at(home: Redis, replay_id: str) -> tuple[State, str] | None:
    """Return how the replay of a part has ended on the first shard; None if it runs."""
    found = await Replays(home).get(replay_id)
    if found is None:
        return State.CANCELLED, "its record on the first shard was deleted"
    if found.state is State.RUNNING:
        return None
    return (State.FAILED if found.state is State.DONE else found.state), found.reason


def _missed_reason(replay: Replay) -> str:
    return f"{replay.missed} events were trimmed from the topic before they were replayed" if replay.missed else ""
