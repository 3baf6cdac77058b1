"""The sweep of lanes: wakes those that have work and no wake-up, repairs them, and saves their positions.

A lane that was at rest at the last look, and to whose topic nothing has been routed since, is looked at again only in
turn: 500 such lanes a sweep. So a sweep costs what the active lanes cost, however many there are, and with 500 lanes or
fewer each is looked at every time. What is at rest has lost nothing that the router does not know of, except by hand.

Lanes that are as their counters say are looked at together (`relay.store.lanes.many`); each of the others by itself, so
that a fault of one concerns no other.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.lanes.audit import audit_lane
from relay.store.lanes.lane import Lane
from relay.store.lanes.many.look import LanePlace, look_at_lanes
from relay.store.lanes.position import lane_names
from relay.store.lanes.ready import mark_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from relay.config.file import Loaded, RulesInForce
    from relay.store.driver.client import Redis
    from relay.store.isolation import Isolation

_IN_TURN = 500  # lanes at rest a sweep
_REMOVED_IN_TURN = 100  # lanes that are not in relay.toml any more


class LaneSweep:
    """The part of the sweeper that concerns lanes; it remembers which were at rest."""

    def __init__(self, redis: Redis, rules: RulesInForce, clock: Callable[[], float], isolation: Isolation) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._key = redis.key
        self._rules = rules
        self._clock = clock
        self._isolation = isolation
        self._loaded: Loaded | None = None
        self._places: dict[str, LanePlace] = {}
        self._topics: dict[str, str] = {}
        """The names of the topics, by lane."""
        self._at_rest: dict[str, tuple[str, bytes | None]] = {}
        """Lanes that were at rest, each with its stream and the router's count of events routed to that."""
        self._turn: deque[str] = deque()
        self._removed_turn = 0

    async def run(self) -> None:
        """Look at the lanes that may have work, and at some of the others in turn."""
        self._follow_rules()
        counts = await self._counts()
        active = self._active(counts)
        in_turn = []
        for _ in range(min(_IN_TURN, len(self._turn))):
            in_turn.append(self._turn[0])
            self._turn.rotate(-1)
        known = await lane_names(self._redis)
        await self._look(dict.fromkeys((*active, *in_turn)), counts, known)
        await self._audit_removed(known)

    async def check_partition(self, partition: int) -> None:
        """Look at the lanes of a partition that may have work."""
        self._follow_rules()
        counts = await self._counts()
        active = [name for name in self._active(counts) if wakeups.partition_of(name) == partition]
        await self._look_beside(active, counts)

    async def check_topic(self, topic: str) -> None:
        """Look at every lane of a topic."""
        self._follow_rules()
        names = [name for name, other in self._topics.items() if other == topic]
        await self._look_beside(names, await self._counts())

    def _follow_rules(self) -> None:
        loaded = self._rules.current
        if loaded is self._loaded:
            return
        self._loaded = loaded
        self._topics = {each.name: each.topic for each in loaded.config.subscriptions}
        self._places = {name: LanePlace(name, self._key.topic(topic)) for name, topic in self._topics.items()}
        self._at_rest = {name: rest for name, rest in self._at_rest.items() if name in self._places}
        self._turn = deque(self._places)

    async def _counts(self) -> dict[bytes, bytes]:
        counts = ask(self._redis.hgetall(self._key.counts))
        return await self._isolation.contain("inbox", self._key.counts, counts, {self._key.counts: "hash"}) or {}

    def _active(self, counts: dict[bytes, bytes]) -> list[str]:
        """Return the lanes that were not at rest, or to whose topics events were routed since."""
        streams = {place.stream for place in self._places.values()}
        routed = {stream: counts.get(b"routed:" + stream.encode()) for stream in streams}
        rest = self._at_rest
        return [name for name, (_, of) in self._places.items() if rest.get(name) != (of, routed[of])]

    async def _look_beside(self, names: Sequence[str], counts: dict[bytes, bytes]) -> None:
        """Look at lanes between two sweeps."""
        if names:
            await self._look(names, counts, await lane_names(self._redis))

    async def _look(self, names: Iterable[str], counts: dict[bytes, bytes], known: Iterable[str]) -> None:
        """Repair lanes, mark those that have work as ready, and wake their partitions, now or when a retry is due.

        `known` are the lanes that Redis has. The rules may change meanwhile, and what is looked at between two sweeps
        follows them: a lane that is removed by then is left out.
        """
        places = [self._places[name] for name in names if name in self._places]
        if not places:
            return
        leased = await self._leased_partitions()
        looks = await look_at_lanes(self._redis, places, saves=True)
        existing = set(known)
        due: dict[str, int] = {}
        for name, stream in places:
            if name not in self._places:
                continue
            look = looks.get(name)
            is_leased = wakeups.partition_of(name) in leased
            if name not in existing or (look is not None and look.is_special):
                lane_due = await self._repaired(name, is_leased=is_leased)
            elif look is None:
                self._at_rest[name] = stream, counts.get(b"routed:" + stream.encode())
                continue
            else:
                is_due_now = look.unread > 0 or (not is_leased and look.in_hand > 0)
                lane_due = wakeups.NOW if is_due_now else look.next_due
            self._at_rest.pop(name, None)
            if lane_due is not None:
                due[name] = lane_due
        await self._wake(due)

    async def _leased_partitions(self) -> Container[int]:
        leases = [
            self._key.lease(wakeups.deliver(self._key, partition).job_id) for partition in range(wakeups.PARTITIONS)
        ]
        return {partition for partition, holder in enumerate(await self._redis.mget(leases)) if holder is not None}

    async def _repaired(self, name: str, *, is_leased: bool) -> int | None:
        """Repair a lane by itself and save its position; return when it has work."""
        lane = Lane(self._redis, name, self._topics[name])
        return await self._isolation.contain("lane", name, self._repair(lane, is_leased=is_leased), lane.key_types)

    async def _repair(self, lane: Lane, *, is_leased: bool) -> int | None:
        await lane.ensure()
        was_repaired = bool(await audit_lane(self._redis, lane.name, is_configured=True))
        next_due = await lane.next_due()
        is_due_now = was_repaired or await lane.has_new() or (not is_leased and await lane.in_hand())
        await lane.save_checkpoint()
        return wakeups.NOW if is_due_now else next_due

    async def _wake(self, due: dict[str, int]) -> None:
        by_partition: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for name, lane_due in due.items():
            by_partition[wakeups.partition_of(name)][name] = lane_due
        now_ms = round(self._clock() * 1000)
        for partition, lanes in by_partition.items():
            ready = self._key.ready(partition)
            marking = mark_ready(self._redis, partition, [name for name in lanes if lanes[name] == wakeups.NOW], now_ms)
            await self._isolation.contain("partition", ready, marking, {ready: "zset"})
            await wakeups.wake(self._redis, wakeups.deliver(self._key, partition), min(lanes.values()))

    async def _audit_removed(self, known: Iterable[str]) -> None:
        """Count what was deleted of lanes that are not in relay.toml any more, some of them in turn."""
        names = [name for name in known if name not in self._places]
        if self._removed_turn >= len(names):
            self._removed_turn = 0
        for name in names[self._removed_turn : self._removed_turn + _REMOVED_IN_TURN]:
            audit = audit_lane(self._redis, name, is_configured=False)
            await self._isolation.contain("lane", name, audit, self._key.lane_types(name))
        self._removed_turn += _REMOVED_IN_TURN
