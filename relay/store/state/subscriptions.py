"""Samples of the push subscriptions: from their ledgers, pauses and breakers, and the age of the oldest waiting event.

An event waits until its first attempt has ended. Events are read in order, so the oldest waiting one is the first
unread entry of a stream; or one that was read and neither settled nor put off for a retry, which is in flight, or left
by a worker that died.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.metrics import declared
from relay.store import keys
from relay.store.driver.streams import order_of, pages
from relay.store.lanes.delivery import Ref
from relay.store.lanes.suspensions import Suspensions
from relay.store.ledger.ledger import Ledger
from relay.store.shadow_marks import shadows_of
from relay.store.state.sample import Sample
from relay.store.state.unread import Place, first_after, known_first_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.store.driver.client import Redis
    from relay.store.ledger.kept import KeptStates
    from relay.store.ledger.ledger import LaneState, Owed

_EXAMINED = 32
"""Pending entries of a lane among which the oldest one that does not wait for a retry is searched."""

_PAGE = 100  # lanes

_NOTHING = (
    *(declared.SUBSCRIPTION_CIRCUIT_BREAKER_OPEN, declared.SUBSCRIPTION_SUSPENDED),
    *(declared.SUBSCRIPTION_WAITING, declared.SUBSCRIPTION_RETRYING, declared.SUBSCRIPTION_DEAD_LETTERS),
    declared.SUBSCRIPTION_OLDEST_WAITING_AGE,
)
"""The metrics that are 0 for a lane at rest, unless it is paused."""


async def subscription_samples(  # noqa: PLR0913  of what, and how much of it
    redis: Redis,
    config: RelayConfig | None,
    now_ms: int,
    count_timeout: float,
    kept: KeptStates | None = None,
    *,
    home: Redis | None = None,
    is_brief: bool = False,
) -> AsyncIterator[Sample]:
    """Yield the samples of every subscription that ever had a lane on this shard.

    `count_timeout` is seconds for counting events. `home` is the first shard, if this is another one: it has the pauses
    and breakers.

    With `kept`, lanes at rest may be as they were read before, and with `is_brief` be left out; but not those with a
    breaker that is open, and no shadow.
    """
    suspensions = Suspensions(home or redis)
    paused = set(await suspensions.pauses())
    known = {subscription.name: subscription for subscription in config.subscriptions} if config else {}
    paused |= {name for name, subscription in known.items() if subscription.paused}
    breakers = await suspensions.open_breakers()
    shadows = await shadows_of(redis, config, is_part=True)
    at_rest: Iterable[str] = ()
    if kept is None:
        states: Sequence[LaneState] = await Ledger(redis, is_part=True).states(count_timeout)
    else:
        states, at_rest = await kept.read(count_timeout, also={*breakers, *shadows})
        for name in () if is_brief else at_rest:
            for sample in _at_rest(name, _topic_of(known.get(name), kept.stream_of(name)), is_paused=name in paused):
                yield sample
    oldest = await _oldest_waiting(redis, states)
    for state in states:
        name = state.ledger.subscription
        labels = (name, _topic_of(known.get(name), state.owed[-1].stream if len(state.owed) > 1 else ""))
        if name in shadows:
            yield Sample(declared.SUBSCRIPTION_SHADOW, 1, labels)
        yield Sample(declared.SUBSCRIPTION_PAUSED, name in paused, labels)
        yield Sample(declared.SUBSCRIPTION_CIRCUIT_BREAKER_OPEN, name in breakers, labels)
        yield Sample(declared.SUBSCRIPTION_SUSPENDED, bool(state.ledger.fault), labels)
        if not state.ledger.fault:
            for sample in _of_ledger(state, labels):
                yield sample
            age = max(now_ms - oldest[name], 0) / 1000 if state.ledger.waiting > 0 and name in oldest else 0
            yield Sample(declared.SUBSCRIPTION_OLDEST_WAITING_AGE, age, labels)


def _at_rest(name: str, topic: str, *, is_paused: bool) -> Iterator[Sample]:
    """Yield the samples of a lane that owes nothing, and whose breaker is closed."""
    labels = name, topic
    yield Sample(declared.SUBSCRIPTION_PAUSED, is_paused, labels)
    for metric in _NOTHING:
        yield Sample(metric, 0, labels)
    yield Sample(declared.LEDGER_IMBALANCE, 0, (name,))


def _of_ledger(state: LaneState, labels: tuple[str, str]) -> Iterator[Sample]:
    ledger = state.ledger
    yield Sample(declared.SUBSCRIPTION_WAITING, ledger.waiting, labels)
    yield Sample(declared.SUBSCRIPTION_RETRYING, ledger.retrying, labels)
    yield Sample(declared.SUBSCRIPTION_DEAD_LETTERS, ledger.dead, labels)
    if state.is_exact:
        yield Sample(declared.LEDGER_IMBALANCE, ledger.imbalance, (ledger.subscription,))


def _topic_of(subscription: Subscription | None, stream: str) -> str:
    """Return the topic of a subscription; if relay.toml no longer has it, the topic of its last stream."""
    if subscription is not None:
        return subscription.topic
    return keys.topic_of(stream) if stream else ""


async def _oldest_waiting(redis: Redis, states: Sequence[LaneState]) -> dict[str, int]:
    """Return when the oldest waiting event of each lane was added to its stream, Unix milliseconds."""
    owing = [state for state in states if state.ledger.waiting > 0]
    unread = {state.ledger.subscription: [part for part in state.owed if part.unread] for state in owing}
    known = {
        part: known_first_after(part.position, part.first, part.end) for parts in unread.values() for part in parts
    }
    asked = await first_after(redis, (Place(part.stream, part.position) for part, id_ in known.items() if id_ is None))
    in_hand = await _first_in_hand(redis, owing)
    oldest = {}
    for name, parts in unread.items():
        ids = [known[part] or asked.get(Place(part.stream, part.position)) for part in parts]
        times = [order_of(entry)[0] for entry in (*ids, *in_hand.get(name, ())) if entry]
        if times:
            oldest[name] = min(times)
    return oldest


async def _first_in_hand(redis: Redis, states: Sequence[LaneState]) -> Mapping[str, Sequence[str]]:
    """Return for each lane the first entry of each stream that was read, is not settled and waits for no retry."""
    found: dict[str, list[str]] = {}
    lanes = [state for state in states if sum(part.pending for part in state.owed) > state.ledger.retrying]
    for page in pages(lanes, _PAGE):
        read = [(state.ledger.subscription, part) for state in page for part in state.owed if part.pending]
        async with redis.pipeline(transaction=False) as pipe:
            for name, part in read:
                pipe.xpending_range(part.stream, keys.push_group(name), "-", "+", _EXAMINED)
            replies = await pipe.execute(raise_on_error=False)
        pending = [
            (name, part, [row["message_id"].decode() for row in rows])
            for (name, part), rows in zip(read, replies, strict=True)
            if rows and not isinstance(rows, ResponseError)
        ]
        async with redis.pipeline(transaction=False) as pipe:
            for name, part, entries in pending:
                pipe.zmscore(redis.key.lane(name, "retries"), _refs(part, entries))
            scores: list[Any] = await pipe.execute(raise_on_error=False)
        for (name, _, entries), due in zip(pending, scores, strict=True):
            free = [] if isinstance(due, Exception) else [e for e, at in zip(entries, due, strict=True) if at is None]
            found.setdefault(name, []).extend(free[:1])
    return found


def _refs(part: Owed, entries: Sequence[str]) -> list[str]:
    return [str(Ref(part.stream, entry)) for entry in entries]
