"""The states of all lanes, of which those of lanes at rest are kept from one reading to the next.

A lane is at rest if all that was routed to it is delivered or filtered: of many most are. It is read again when
something was routed to a topic of it, when it is asked for, and in turn: 500 such lanes a reading, so that with 500
lanes or fewer each is read every time. So a reading costs what the active lanes cost (tests/bench/scaling.md).

A subscription has a lane on each shard, and those at rest are kept of each by itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from relay.store.driver.client import ask
from relay.store.lanes.position import lane_names
from relay.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis
    from relay.store.ledger.ledger import LaneState

_IN_TURN = 500  # lanes at rest a reading


class Reading(NamedTuple):
    """The states of all lanes."""

    states: Sequence[LaneState]
    """Every lane that is not at rest, and some others; with several shards a lane has one of each."""
    at_rest: Mapping[str, int]
    """The events ever delivered to each of the rest."""

    @property
    def delivered(self) -> dict[str, int]:
        """The events ever delivered to each subscription."""
        found = Counter(self.at_rest)
        for state in self.states:
            found[state.ledger.subscription] += state.ledger.delivered
        return dict(found)


class _Kept(NamedTuple):
    """A lane at rest."""

    streams: tuple[str, ...]
    """The streams of its topics."""
    routed: tuple[bytes | None, ...]
    """The router's counts of events routed to them, as of before the lane was read."""
    delivered: int


class KeptStates:
    """The states of all lanes, as a process needs them that reads them again and again."""

    def __init__(self, redis: Redis, *, is_part: bool = False) -> None:
        """`redis` is the first shard; `is_part` keeps those of one shard alone."""
        self._redis = redis
        shards = () if is_part or not redis.others else redis.shards
        self._parts = {shard.key.name: KeptStates(shard, is_part=True) for shard in shards}
        self._kept: dict[str, _Kept] = {}
        """By name; the lane that was read longest ago comes first."""
        self._reading = asyncio.Lock()

    def on(self, shard: Redis) -> KeptStates:
        """Return those of a shard alone."""
        return self._parts[shard.key.name] if self._parts else self

    async def read(self, count_timeout: float, also: Container[str] = ()) -> Reading:
        """Read every lane that may have changed, those of `also`, and some of the others in turn.

        `count_timeout` is that of `Ledger.states`.
        """
        if self._parts:
            parts = await asyncio.gather(*(part.read(count_timeout, also) for part in self._parts.values()))
            delivered = Counter[str]()
            for part in parts:
                delivered.update(part.at_rest)
            return Reading([state for part in parts for state in part.states], delivered)
        async with self._reading:
            routed = await ask(self._redis.hgetall(self._redis.key.counts))
            names = await lane_names(self._redis)
            for gone in self._kept.keys() - set(names):
                del self._kept[gone]
            in_turn = set(islice(self._kept, _IN_TURN))
            read = [name for name in names if name in in_turn or name in also or self._may_have_changed(name, routed)]
            states = await Ledger(self._redis, is_part=True).states(count_timeout, read)
            for state in states:
                self._kept.pop(state.ledger.subscription, None)
            at_rest = {name: kept.delivered for name, kept in self._kept.items()}
            self._kept |= {state.ledger.subscription: _kept(state, routed) for state in states if _is_at_rest(state)}
            return Reading(states, at_rest)

    def stream_of(self, name: str) -> str:
        """Return the stream of the topic that a lane at rest reads; empty if it is not at rest, or reads none."""
        kept = self._kept.get(name)
        return kept.streams[-1] if kept is not None and kept.streams else ""

    def _may_have_changed(self, name: str, routed: Mapping[bytes, bytes]) -> bool:
        kept = self._kept.get(name)
        return kept is None or kept.routed != _counts_of(kept.streams, routed)


def _is_at_rest(state: LaneState) -> bool:
    ledger = state.ledger
    return state.is_exact and ledger.balances and not (ledger.waiting or ledger.retrying or ledger.dead)


def _kept(state: LaneState, routed: Mapping[bytes, bytes]) -> _Kept:
    streams = tuple(intern(part.stream) for part in state.owed[1:])
    return _Kept(streams, _counts_of(streams, routed), state.ledger.delivered)


def _counts_of(streams: Iterable[str], routed: Mapping[bytes, bytes]) -> tuple[bytes | None, ...]:
    return tuple(routed.get(b"routed:" + stream.encode()) for stream in streams)
