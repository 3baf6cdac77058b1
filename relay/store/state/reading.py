"""Every sample of the state in Redis, read in pages of some hundred subscriptions or topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.metrics import declared
from relay.store.contracts.contracts import Contracts
from relay.store.driver.client import ask
from relay.store.driver.streams import order_of
from relay.store.ledger.ledger import Ledger
from relay.store.ledger.whole import of_each
from relay.store.state.linq.gaps import gap_samples
from relay.store.state.linq.lines import line_samples, read_lines
from relay.store.state.sample import Sample, whole_samples
from relay.store.state.subscriptions import subscription_samples
from relay.store.state.sweeps import last_sweep_ms
from relay.store.state.topics import topic_samples

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis
    from relay.store.ledger.kept import KeptStates
    from relay.store.state.kept import KeptState

_COUNT_TIMEOUT = 1.0  # seconds for counting events one by one, where Redis does not know their number


async def read_state(
    redis: Redis,
    config: RelayConfig | None,
    count_timeout: float = _COUNT_TIMEOUT,
    kept: KeptState | None = None,
    lanes: KeptStates | None = None,
) -> AsyncGenerator[list[Sample]]:
    """Yield the samples of the inbox, of lines, of topics with their pull groups, and of subscriptions: a list of each.

    `config` is relay.toml; without it, limits are the default ones and removed topics look like the others. With
    `kept`, which is of the same Redis, what no alert can be about may be left out, and lines be those of minutes ago.
    With `lanes`, all subscriptions are there, and those at rest may be as they were read before.
    """
    seconds, microseconds = await ask(redis.time())
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    yield await _of_shards(redis, lambda shard: _of_events(shard, now_ms))
    yield [sample async for sample in _of_lines(redis, config, now_ms, kept)]
    yield [sample async for sample in gap_samples(redis, config, now_ms)]
    yield [Sample(declared.CONTRACT_CHANGED, 1, (*pair, what)) for pair, what, _ in await Contracts(redis).changes()]
    is_brief, parts = kept is not None, len(redis.shards)
    known = lanes if kept is None else kept.lanes

    def of_topics(shard: Redis) -> AsyncIterator[Sample]:
        return topic_samples(shard, config, now_ms, count_timeout, is_brief=is_brief, parts=parts)

    def of_subscriptions(shard: Redis) -> AsyncIterator[Sample]:
        states = None if known is None else known.on(shard)
        return subscription_samples(shard, config, now_ms, count_timeout, states, home=redis, is_brief=is_brief)

    yield await _of_shards(redis, of_topics)
    yield await _of_shards(redis, of_subscriptions)


async def _of_shards(redis: Redis, read: Callable[[Redis], AsyncIterator[Sample]]) -> list[Sample]:
    """Return what `read` yields of the relay as a whole."""

    async def of_shard(shard: Redis) -> list[Sample]:
        return [sample async for sample in read(shard)]

    parts = await of_each(redis, of_shard)
    return parts[0] if len(parts) == 1 else whole_samples(parts)


async def _of_events(redis: Redis, now_ms: int) -> AsyncIterator[Sample]:
    totals = await Ledger(redis, is_part=True).totals()
    async with redis.pipeline(transaction=False) as pipe:
        pipe.xrange(redis.key.inbox, count=1)
        pipe.xlen(redis.key.quarantine)
        first, quarantined = await pipe.execute()
    age = max(now_ms - order_of(first[0][0].decode())[0], 0) / 1000 if first else 0
    yield Sample(declared.INBOX_EVENTS, totals.inbox)
    yield Sample(declared.INBOX_OLDEST_AGE, age)
    yield Sample(declared.QUARANTINE_ENTRIES, quarantined)
    yield Sample(declared.LEDGER_EVENTS_IMBALANCE, totals.imbalance)
    if (swept_ms := await last_sweep_ms(redis)) is not None:
        yield Sample(declared.LAST_SWEEP, swept_ms / 1000)


async def _of_lines(
    redis: Redis, config: RelayConfig | None, now_ms: int, kept: KeptState | None
) -> AsyncIterator[Sample]:
    lines = await kept.lines(config, now_ms) if kept else line_samples(await read_lines(redis, config, now_ms))
    for sample in lines:
        yield sample
    drift: dict[bytes, Any] = await ask(redis.hgetall(redis.key.drift))
    for field, value in drift.items():
        api, _, kind = field.decode().partition(":")
        if kind == "at":
            yield Sample(declared.LINQ_LAST_CHECK, int(value), (api,))
        else:
            yield Sample(declared.LINQ_DRIFT, int(value), (api, kind))
