"""The contracts in Redis: counts of workers are added to them, and operators accept their changes.

Both read, change and write in one transaction, and begin again if another was quicker, so that counts of two workers
add up. Of more than `MOST` pairs, those whose last event is the oldest are forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import WatchError

from relay.contracts import learning
from relay.contracts.facts import Pair
from relay.contracts.learning import LOST
from relay.core.sharding.placement import MAX_SHARDS
from relay.store.contracts.record import (
    Samples,
    changed_field,
    contract_of,
    sample_of,
    sample_text,
    text_of,
    usual_field,
)
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from redis.asyncio.client import Pipeline

    from relay.contracts.facts import Tally
    from relay.contracts.learning import Contract
    from relay.store.driver.client import Redis

MOST = 300
"""Number of pairs that are kept; Linq has about a hundred."""

_SAMPLE_LIFETIME_MS = 24 * 3600 * 1000
"""Age at which the usual sample is replaced, so that a change is compared with what was usual the day before."""
_TRIES = MAX_SHARDS
"""Of writers at the same time one succeeds, and the others try again; the routers of all shards may be due at once."""


class Known(NamedTuple):
    """Event types and payload versions that this release can read."""

    types: frozenset[str]
    versions: frozenset[str]


class Change(NamedTuple):
    """A change that was noticed, or that is over."""

    pair: Pair
    what: str
    """Kind of change, of `learning.CHANGES`."""
    is_over: bool = False


class Contracts:
    """Knowledge of event types and payload versions."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, tallies: Mapping[Pair, Tally], known: Known, now_ms: int) -> list[Change]:
        """Add counts of events; return the changes that they show. Raises an error of the client if Redis fails."""

        async def change(pipe: Pipeline) -> list[Change]:
            stored = await self._stored(pipe, tallies)
            learned = [(stored.get(pair), tally) for pair, tally in tallies.items()]
            is_whole = all(contract is not None for contract, _ in learned)
            others = {} if is_whole else await self._all(pipe)
            contracts, changes = _learned(stored, others, tallies, known, now_ms)
            pipe.multi()  # type: ignore[no-untyped-call]
            self._save(pipe, contracts, changes, tallies, now_ms)
            if over := [f"{each.pair} {each.what}" for each in changes if each.is_over]:
                pipe.hdel(self._redis.key.contract_changes, *over)
            if not is_whole:
                self._forget(pipe, {**others, **{contract.pair: contract for contract in contracts}})
            return changes

        return await self._in_transaction(change)

    async def accept(self, pairs: Collection[Pair]) -> list[Change]:
        """Accept the changes of event types in payload versions as known; return them."""
        key = self._redis.key

        async def change(pipe: Pipeline) -> list[Change]:
            contracts = [each for each in (await self._all(pipe)).values() if each.pair in pairs and each.changes]
            pipe_reads = [await ask(pipe.hget(key.contract_samples, changed_field(each.pair))) for each in contracts]
            pipe.multi()  # type: ignore[no-untyped-call]
            for contract, changed in zip(contracts, pipe_reads, strict=True):
                pair, accepted = contract.pair, learning.accept(contract)
                if contract.lost and changed is not None:  # what is new is usual now
                    pipe.hset(key.contract_samples, usual_field(pair), changed)
                    pipe.hdel(key.contract_samples, changed_field(pair))
                pipe.hset(key.contracts, str(pair), text_of(accepted))
                pipe.hdel(key.contract_changes, *(f"{pair} {what}" for what in contract.changes))
            return [Change(each.pair, what) for each in contracts for what in each.changes]

        return await self._in_transaction(change)

    async def all(self) -> list[Contract]:
        """Return every contract, by type and version."""
        found = await self._all(self._redis)
        return [found[pair] for pair in sorted(found)]

    async def samples(self, pairs: Iterable[Pair]) -> dict[Pair, Samples]:
        """Return the samples of each pair."""
        wanted = list(pairs)
        fields = [field for pair in wanted for field in (usual_field(pair), changed_field(pair))]
        if not fields:
            return {}
        texts = await ask(self._redis.hmget(self._redis.key.contract_samples, fields))
        return {
            pair: Samples(sample_of(usual), sample_of(changed))
            for pair, usual, changed in zip(wanted, texts[::2], texts[1::2], strict=True)
        }

    async def changes(self) -> list[Change]:
        """Return the changes that no operator has accepted, by type and version."""
        fields = await ask(self._redis.hkeys(self._redis.key.contract_changes))
        return sorted(_change_of(field.decode(errors="replace")) for field in fields)

    async def _in_transaction(self, change: Callable[[Pipeline], Awaitable[list[Change]]]) -> list[Change]:
        """Make a change, which reads, calls `multi` and queues what it writes, unless others change them meanwhile."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for _ in range(_TRIES):
                try:
                    await pipe.watch(self._redis.key.contracts)
                    changes = await change(pipe)
                    await pipe.execute()
                except WatchError:
                    continue
                return changes
        raise WatchError("other processes keep changing the contracts; try again")

    async def _stored(self, pipe: Pipeline, pairs: Iterable[Pair]) -> dict[Pair, Contract]:
        wanted = list(pairs)
        texts = await ask(pipe.hmget(self._redis.key.contracts, list(map(str, wanted))))
        found = (contract_of(pair, text) for pair, text in zip(wanted, texts, strict=True))
        return {contract.pair: contract for contract in found if contract is not None}

    async def _all(self, client: Redis | Pipeline) -> dict[Pair, Contract]:
        rows: Mapping[bytes, bytes] = await ask(client.hgetall(self._redis.key.contracts))
        found = (contract_of(Pair.parse(field.decode(errors="replace")), text) for field, text in rows.items())
        return {contract.pair: contract for contract in found if contract is not None}

    def _save(
        self,
        pipe: Pipeline,
        contracts: Iterable[Contract],
        changes: Iterable[Change],
        tallies: Mapping[Pair, Tally],
        now_ms: int,
    ) -> None:
        """Queue the writing of contracts, of changes that began, and of samples that are due."""
        key = self._redis.key
        began = {f"{each.pair} {each.what}": now_ms for each in changes if not each.is_over}
        texts: dict[str, str] = {}
        samples: dict[str, str] = {}
        for contract in contracts:
            pair, tally = contract.pair, tallies[contract.pair]
            lost = [fact for fact in contract.lost if f"{pair} {LOST}{fact}" in began]
            if lost and (sample := sample_text(tally.body_without(lost[0]), now_ms)):
                samples[changed_field(pair)] = sample
            is_due = not contract.lost and contract.sampled_ms <= now_ms - _SAMPLE_LIFETIME_MS
            if is_due and (sample := sample_text(tally.fullest_body(), now_ms)):
                samples[usual_field(pair)] = sample
                texts[str(pair)] = text_of(replace(contract, sampled_ms=now_ms))
            else:
                texts[str(pair)] = text_of(contract)
        for name, rows in ((key.contracts, texts), (key.contract_samples, samples), (key.contract_changes, began)):
            if rows:
                pipe.hset(name, mapping=rows)

    def _forget(self, pipe: Pipeline, contracts: Mapping[Pair, Contract]) -> None:
        """Queue the deletion of the pairs beyond `MOST`."""
        key, by_age = self._redis.key, sorted(contracts, key=lambda pair: contracts[pair].last_ms)
        for pair in by_age[: max(len(by_age) - MOST, 0)]:
            pipe.hdel(key.contracts, str(pair))
            pipe.hdel(key.contract_samples, usual_field(pair), changed_field(pair))
            pipe.hdel(key.contract_changes, *(f"{pair} {what}" for what in learning.CHANGES))


def _learned(
    stored: Mapping[Pair, Contract],
    others: Mapping[Pair, Contract],
    tallies: Mapping[Pair, Tally],
    known: Known,
    now_ms: int,
) -> tuple[list[Contract], list[Change]]:
    """Return the contracts after more events, and their changes. `others` are all, if one of them is new."""
    first_ms = {pair: contract.first_ms for pair, contract in others.items()}
    contracts: list[Contract] = []
    changes: list[Change] = []
    for pair, tally in tallies.items():
        new = () if pair in stored else learning.newness_of(pair, first_ms, known.types, known.versions, now_ms)
        first_ms.setdefault(pair, now_ms)
        before = stored.get(pair) or learning.begin(pair, now_ms, new)
        contract, began, ended = learning.learn(before, tally, now_ms)
        contracts.append(contract)
        changes += [Change(pair, what) for what in (*new, *began)]
        changes += [Change(pair, what, is_over=True) for what in ended]
    return contracts, changes


def _change_of(field: str) -> Change:
    pair, _, what = field.rpartition(" ")
    return Change(Pair.parse(pair), what)
