"""The facts that conditions look at, read from Redis: the same values as the metrics of these names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.alerts import history
from relay.alerts.samples import Facts, Sample
from relay.core.errors import RelayError
from relay.core.event import ACCOUNT
from relay.store.driver.client import ask, ask_together
from relay.store.driver.streams import order_of
from relay.store.inbox.memory_guard import memory_of
from relay.store.isolation import is_wrong_type
from relay.store.keyring.last_seen import last_events
from relay.store.lanes.ledger import Ledger
from relay.store.lanes.suspensions import Suspensions
from relay.store.topics.topics import topic_states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio.client import Pipeline

    from relay.core.config.relay_toml import RelayConfig
    from relay.core.config.topics import Topic
    from relay.store.driver.client import Redis


class IncompleteReading(RelayError):
    """Something of the state could not be read."""

    code = "incomplete_reading"


async def read_facts(redis: Redis, config: RelayConfig, now: float) -> Facts:
    """Read the state of the relay; `now` is Unix seconds.

    Raises:
        IncompleteReading: a part of it cannot be read.
    """
    try:
        samples = [sample async for sample in _samples(redis, config, now)]
    except ResponseError as error:
        if is_wrong_type(error):
            raise IncompleteReading(f"a key was overwritten: relay doctor says which ({error})") from error
        raise
    counts = await history.count(redis)
    earlier, oldest = await history.earlier(redis, now)
    return Facts(now, config, samples, counts, earlier, oldest)


async def _samples(redis: Redis, config: RelayConfig, now: float) -> AsyncIterator[Sample]:
    def queue(pipe: Pipeline) -> None:
        pipe.xrange(redis.key.inbox, count=1)
        pipe.xlen(redis.key.quarantine)
        pipe.hgetall(redis.key.drift)

    inbox, quarantined, drift = await ask_together(redis, queue)
    yield Sample("relay_inbox_oldest_age_seconds", {}, _age(inbox, now))
    yield Sample("relay_quarantine_entries", {}, quarantined)
    for field, number in drift.items():
        api, _, kind = field.decode().partition(":")
        if kind != "at":
            yield Sample("relay_linq_drift", {"api": api, "kind": kind}, int(number))
    for owner, last in (await last_events(redis)).items():
        if owner != ACCOUNT:
            is_silent = now - last.at_ms / 1000 > config.linq.silent_after
            yield Sample("relay_line_silent", {"line": owner}, is_silent)
    async for sample in _of_redis(redis):
        yield sample
    async for sample in _of_topics(redis, config, now):
        yield sample
    async for sample in _of_subscriptions(redis, config, now):
        yield sample


async def _of_redis(redis: Redis) -> AsyncIterator[Sample]:
    memory = await memory_of(redis)
    yield Sample("relay_redis_memory_used_bytes", {}, memory.used)
    yield Sample("relay_redis_memory_max_bytes", {}, memory.limit)
    info = await ask(redis.info("persistence"))
    if "aof_enabled" in info:
        writes = [info.get(name, "ok") for name in ("aof_last_write_status", "aof_last_bgrewrite_status")]
        is_healthy = bool(info["aof_enabled"]) and writes == ["ok", "ok"]
        yield Sample("relay_redis_persistence_healthy", {}, is_healthy)


async def _of_topics(redis: Redis, config: RelayConfig, now: float) -> AsyncIterator[Sample]:
    topics = {topic.name: topic for topic in config.topics}
    for state in await topic_states(redis, topics):
        known: Topic | None = topics.get(state.name)
        if known is not None:
            yield Sample("relay_topic_cap_ratio", {"topic": state.name}, state.size / known.hard_size)
        for group in state.groups:
            if not group.is_push:
                labels = {"topic": state.name, "group": group.name}
                unread, idle = await _group_ages(redis, state.name, group.name, now)
                yield Sample("relay_pull_group_pending", labels, group.pending)
                yield Sample("relay_pull_group_oldest_unread_age_seconds", labels, unread)
                yield Sample("relay_pull_group_idle_seconds", labels, idle)


async def _group_ages(redis: Redis, topic: str, group: str, now: float) -> tuple[float, float]:
    """Return the age of the oldest event that a pull group has not read, and the time since it last asked."""
    stream = redis.key.topic(topic)
    rows: list[dict[str, Any]] = await redis.xinfo_groups(stream)
    position = next((row["last-delivered-id"].decode() for row in rows if row["name"] == group.encode()), None)
    if position is None:
        return 0.0, 0.0
    unread = await redis.xrange(stream, f"({position}", count=1)
    idle = [row["idle"] / 1000 for row in await redis.xinfo_consumers(stream, group)]
    return _age(unread, now), min(idle, default=0.0)


async def _of_subscriptions(redis: Redis, config: RelayConfig, now: float) -> AsyncIterator[Sample]:
    suspensions = Suspensions(redis)
    paused, breakers = await suspensions.pauses(), await suspensions.open_breakers()
    topics = {each.name: each.topic for each in config.subscriptions}
    paused_in_file = {each.name for each in config.subscriptions if each.paused}
    for row in await Ledger(redis).lanes():
        name = row.subscription
        labels = {"subscription": name, "topic": topics.get(name, "")}
        yield Sample("relay_subscription_dead_letters", labels, row.dead)
        if row.fault:
            continue
        yield Sample("relay_ledger_imbalance", {"subscription": name}, row.imbalance)
        if name in topics:
            yield Sample("relay_subscription_paused", labels, name in paused or name in paused_in_file)
            yield Sample("relay_subscription_circuit_breaker_open", labels, name in breakers)
            if row.waiting:
                age = await _oldest_waiting(redis, name, topics[name], now)
                yield Sample("relay_subscription_oldest_waiting_age_seconds", labels, age)


async def _oldest_waiting(redis: Redis, subscription: str, topic: str, now: float) -> float:
    """Return the age of the oldest event that a lane has not tried: the first after its checkpoint."""
    found: Any = redis.hget(redis.key.lane(subscription), f"checkpoint:{redis.key.topic(topic)}")
    checkpoint: bytes = await ask(found) or b"0-0"
    rows = await redis.xrange(redis.key.topic(topic), f"({checkpoint.decode()}", count=1)
    return _age(rows, now)


def _age(rows: list[Any], now: float) -> float:
    """Return the age of the first of the entries, by its id; 0 if there is none."""
    return max(0.0, now - order_of(rows[0][0].decode())[0] / 1000) if rows else 0.0
