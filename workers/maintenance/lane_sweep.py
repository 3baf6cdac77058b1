"""The sweep of lanes: wakes those that have work and no wake-up, repairs them, and saves their positions.

A lane that was at rest at the last look, and to whose topic nothing has been routed since, is looked at again only in
turn: 500 such lanes a sweep. So a sweep costs what the active lanes cost, however many there are, and with 500 lanes or
fewer each is looked at every time. What is at rest has lost nothing that the router does not know of, except by hand.
The names of all lanes are read once a minute, and when there are more or fewer: of 20,000, that takes 60 ms of CPU.

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
from relay.store.lanes.position import ensure_lanes, lane_names
from relay.store.lanes.ready import mark_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable

    from relay.config.file import Loaded, RulesInForce
    from relay.store.driver.client import Redis
    from relay.store.isolation import Isolation

_IN_TURN = 500  # lanes at rest a sweep
_REMOVED_IN_TURN = 100  # lanes that are not in relay.toml any more
_NAMES_INTERVAL = 60.0  # seconds; a change of their number is seen at once


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
        self._by_stream: dict[str, list[str]] = {}
        """The lanes of each topic's stream."""
        self._routed: dict[str, bytes | None] = {}
        """The router's count of events routed to each stream, as of the last look."""
        self._restless: set[str] = set()
        """Lanes that were not at rest at the last look, or to whose topics events were routed since."""
        self._turn: deque[str] = deque()
        self._known: set[str] = set()
        """The lanes that Redis has, as of the last reading of their names."""
        self._known_until = 0.0
        self._removed: list[str] = []
        """Known lanes that are not in relay.toml any more."""
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
        if await ask(self._redis.scard(self._key.lanes)) != len(self._known) or self._clock() >= self._known_until:
            await self._read_names()
        await self._look(dict.fromkeys((*active, *in_turn)))
        await self._audit_removed()

    async def check_partition(self, partition: int) -> None:
        """Look at the lanes of a partition that may have work."""
        self._follow_rules()
        counts = await self._counts()
        await self._look([name for name in self._active(counts) if wakeups.partition_of(name) == partition])

    async def check_topic(self, topic: str) -> None:
        """Look at every lane of a topic."""
        self._follow_rules()
        await self._look(self._by_stream.get(self._key.topic(topic), ()))

    def _follow_rules(self) -> None:
        loaded = self._rules.current
        if loaded is self._loaded:
            return
        self._loaded = loaded
        former = self._places
        self._topics = {each.name: each.topic for each in loaded.config.subscriptions}
        self._places = {name: LanePlace(name, self._key.topic(topic)) for name, topic in self._topics.items()}
        self._by_stream = {}
        for name, stream in self._places.values():
            self._by_stream.setdefault(stream, []).append(name)
        self._routed = {stream: self._routed[stream] for stream in self._routed.keys() & self._by_stream.keys()}
        moved = {name for name, place in self._places.items() if former.get(name) != place}
        self._restless = (self._restless & self._places.keys()) | moved
        self._turn = deque(self._places)
        self._known_until = 0.0

    async def _read_names(self) -> None:
        """Read the names of the lanes that Redis has."""
        names = await lane_names(self._redis)
        self._known = set(names)
        self._known_until = self._clock() + _NAMES_INTERVAL
        self._removed = [name for name in names if name not in self._places]

    async def _counts(self) -> dict[bytes, bytes]:
        counts = ask(self._redis.hgetall(self._key.counts))
        return await self._isolation.contain("inbox", self._key.counts, counts, {self._key.counts: "hash"}) or {}

    def _active(self, counts: dict[bytes, bytes]) -> list[str]:
        """Return the lanes that were not at rest, or to whose topics events were routed since."""
        for stream, names in self._by_stream.items():
            routed = counts.get(b"routed:" + stream.encode())
            if routed != self._routed.setdefault(stream, routed):
                self._routed[stream] = routed
                self._restless.update(names)
        return list(self._restless)

    async def _look(self, names: Iterable[str]) -> None:
        """Repair lanes, mark those that have work as ready, and wake their partitions, now or when a retry is due.

        The rules may change meanwhile, and what is looked at between two sweeps follows them: a lane that is removed by
        then is left out.
        """
        places = [self._places[name] for name in names if name in self._places]
        if not places:
            return
        await self._create(places)
        routed = {place.stream: self._routed.get(place.stream) for place in places}
        leased = await self._leased_partitions()
        looks = await look_at_lanes(self._redis, places, saves=True)
        due: dict[str, int] = {}
        for name, stream in places:
            if name not in self._places:
                continue
            look = looks.get(name)
            is_leased = wakeups.partition_of(name) in leased
            if look is None:
                if routed[stream] == self._routed.get(stream):  # else another look has seen newer events
                    self._restless.discard(name)
                continue
            if look.is_special:
                lane_due = await self._repaired(name, is_leased=is_leased)
            else:
                is_due_now = look.unread > 0 or (not is_leased and look.in_hand > 0)
                lane_due = wakeups.NOW if is_due_now else look.next_due
            self._restless.add(name)
            if lane_due is not None:
                due[name] = lane_due
        await self._wake(due)

    async def _create(self, places: Collection[LanePlace]) -> None:
        """Create the lanes that Redis does not have: 20,000 by themselves would take minutes after a first start."""
        if all(place.name in self._known for place in places):
            return
        await self._read_names()  # the router may have created them
        missing = [place for place in places if place.name in self._places and place.name not in self._known]
        failed = await ensure_lanes(self._redis, missing)
        self._known.update(place.name for place in missing if place.name not in failed)

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

    async def _audit_removed(self) -> None:
        """Count what was deleted of lanes that relay.toml no longer has; a few lanes per sweep, in turn."""
        if self._removed_turn >= len(self._removed):
            self._removed_turn = 0
        for name in self._removed[self._removed_turn : self._removed_turn + _REMOVED_IN_TURN]:
            audit = audit_lane(self._redis, name, is_configured=False)
            await self._isolation.contain("lane", name, audit, self._key.lane_types(name))
        self._removed_turn += _REMOVED_IN_TURN
