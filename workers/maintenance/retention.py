"""Retention: trims every topic once a minute, and warns before the hard cap which consumer group prevents trimming.

The attempt logs of the lanes are trimmed by age, dead letters of lanes and pull groups by age and size, the quarantine
by size. Topics and lanes are looked at many at a time, and only those that have something to remove are trimmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.config.settings import DEFAULT_GAP_WINDOW
from relay.core.config.relay_toml import AttemptBounds
from relay.core.config.topics import DeadBounds
from relay.store.driver.client import ask
from relay.store.gaps.backfilled import forget_backfilled
from relay.store.gaps.message_index import HOUR_MS, MAX_BYTES, trim_index
from relay.store.inbox.quarantine import Quarantine
from relay.store.isolation import Isolation
from relay.store.lanes.attempts.log import trim_attempts
from relay.store.lanes.dead_letter_bounds import trim_dead_letters
from relay.store.lanes.many.logs import LettersLook, LogsLook, look_at_logs
from relay.store.shadow_marks import shadows_of
from relay.store.topics.held import topics_with_held_events, trim_held_events
from relay.store.topics.pull.dead_letters import GroupLetters, groups_with_letters
from relay.store.topics.retention import Bounds, topics_to_trim, trim_topic
from workers.maintenance.shadows import end_removed_shadows

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.store.driver.client import Redis
    from relay.store.keys import GroupName
    from relay.store.topics.pull.dead_letters import TrimmedLetters
    from relay.store.topics.retention import Trimmed

_NO_LETTERS = LettersLook()

log = structlog.get_logger()


class Retention:
    """The trimming of topics, attempt logs and the quarantine."""

    def __init__(
        self,
        redis: Redis,
        rules: RulesInForce,
        clock: Callable[[], float],
        gap_window: float = DEFAULT_GAP_WINDOW,
        home: Redis | None = None,
    ) -> None:
        """`clock` gives Unix seconds; `gap_window` is the message index's, seconds.

        `home` is the first shard, if this is another one.
        """
        self._gap_window = gap_window
        self._forgot_at = 0
        self._redis, self._home = redis, home or redis
        self._parts = len(self._home.shards)  # which share the bounds of sizes
        self._key = redis.key
        self._rules = rules
        self._clock = clock
        self._isolation = Isolation(redis)
        self._letters: dict[str, tuple[LettersLook, DeadBounds]] = {}
        """The dead letters of lanes, and the bounds within which they are."""

    async def trim(self) -> None:
        """Trim everything; topics and lanes that are not in relay.toml any more by the default bounds."""
        await self._end_shadows()
        await self._trim_topics()
        await self._trim_lanes()
        await self._trim_group_letters()
        gaps = {self._key.gaps: "hash", self._key.backfilled: "hash"}
        await self._isolation.contain("gaps", self._key.gaps, self._trim_gaps(), gaps)
        quarantine = {self._key.quarantine: "stream", self._key.counts: "hash"}
        await self._isolation.contain("quarantine", self._key.quarantine, self._trim_quarantine(), quarantine)

    async def _trim_gaps(self) -> None:
        """Bound the message index; once an hour, forget old backfilled messages."""
        now_ms = round(self._clock() * 1000)
        await trim_index(self._redis, self._gap_window, now_ms, MAX_BYTES // self._parts)
        if now_ms // HOUR_MS != self._forgot_at:
            await forget_backfilled(self._redis, self._gap_window, now_ms)
            self._forgot_at = now_ms // HOUR_MS

    async def _trim_quarantine(self) -> None:
        others = [shard for shard in self._home.shards if shard.key.name != self._key.name]
        if dropped := await Quarantine(self._redis).trim(others):
            log.error(
                "quarantine.overflowed", dropped=dropped, note="see the remaining ones with: relay quarantine list"
            )

    async def _end_shadows(self) -> None:
        marks, now_ms = {self._key.shadows: "hash"}, round(self._clock() * 1000)
        ending = end_removed_shadows(self._redis, self._rules.current.config, now_ms, self._home)
        await self._isolation.contain("set", self._key.shadows, ending, marks)

    async def _shadows(self) -> dict[str, str]:
        reading = shadows_of(self._redis, self._rules.current.config, is_part=True)
        found = await self._isolation.contain("set", self._key.shadows, reading, {self._key.shadows: "hash"})
        return self._rules.current.config.shadows if found is None else found

    async def _trim_topics(self) -> None:
        shadows, now_ms = await self._shadows(), round(self._clock() * 1000)
        known = {topic.name: topic for topic in self._rules.current.config.topics}
        names = sorted(known.keys() | await self._members(self._key.topics))
        bounds = {name: Bounds.of(known.get(name), self._parts) for name in names}
        for name in await topics_with_held_events(self._redis, names):
            most = bounds[name].hard_size
            holding = trim_held_events(self._redis, name, most)
            if lost := await self._isolation.contain("topic", name, holding, {self._key.held(name): "stream"}):
                log.error("topic.overflowed", topic=name, hard_cap=most, lost=lost, note="its held events")
        for name in await topics_to_trim(self._redis, bounds, now_ms):
            trimming = trim_topic(self._redis, name, bounds[name], now_ms, shadows)
            trimmed = await self._isolation.contain("topic", name, trimming, {self._key.topic(name): "stream"})
            if trimmed is not None:
                self._log(name, bounds[name], trimmed)

    async def _trim_lanes(self) -> None:
        known = {subscription.name: subscription for subscription in self._rules.current.config.subscriptions}
        shadows, now_ms = await self._shadows(), round(self._clock() * 1000)
        looks = await look_at_logs(self._redis, sorted(known.keys() | await self._members(self._key.lanes)))
        for name in (*looks, *(self._letters.keys() - looks.keys())):
            look, types = looks.get(name, LogsLook()), self._key.lane_types(name)
            attempts = known[name].attempts if name in known else AttemptBounds()
            dead = (known[name].dead if name in known else DeadBounds()).share(self._parts)
            if look.has_wrong_type or 0 <= look.oldest_attempt_ms < now_ms - attempts.keep * 1000:
                trimming = trim_attempts(self._redis, name, attempts.keep, now_ms)
                await self._isolation.contain("lane", name, trimming, types)
            are_known = self._letters.get(name, (_NO_LETTERS, dead)) == (look.letters, dead)
            if look.has_wrong_type or not are_known or 0 <= look.letters.oldest_ms < now_ms - dead.keep * 1000:
                bounding = trim_dead_letters(self._redis, name, dead, now_ms, is_alarm=name not in shadows)
                await self._isolation.contain("lane", name, bounding, types)
            self._note_letters(name, look.letters, dead)

    def _note_letters(self, name: str, letters: LettersLook, bounds: DeadBounds) -> None:
        """Remember the dead letters of a lane that were just bounded: their size is not read again meanwhile."""
        self._letters.pop(name, None)
        if letters.number:
            self._letters[name] = letters, bounds

    async def _trim_group_letters(self) -> None:
        topics = {topic.name: topic for topic in self._rules.current.config.topics}
        names = sorted(topics.keys() | await self._members(self._key.topics))
        letters, types = GroupLetters(self._redis), {self._key.group_letters: "hash"}
        numbers = groups_with_letters(self._redis, names)
        for name in await self._isolation.contain("groups", self._key.group_letters, numbers, types) or ():
            bounds = (topics[name.topic].dead if name.topic in topics else DeadBounds()).share(self._parts)
            trimming = letters.trim(name, bounds, round(self._clock() * 1000))
            expected = types | {self._key.group_dead(*name): "stream"}
            if trimmed := await self._isolation.contain("group", str(name), trimming, expected):
                _log_letters(name, bounds, trimmed)

    async def _members(self, names: str) -> set[str]:
        members = ask(self._redis.smembers(names))
        return {name.decode() for name in await self._isolation.contain("set", names, members, {names: "set"}) or ()}

    def _log(self, topic: str, bounds: Bounds, trimmed: Trimmed) -> None:
        fields = {
            "topic": topic,
            "removed": trimmed.removed,
            "entries": trimmed.entries,
            "bytes": trimmed.size,
            "hard_cap": bounds.hard_size,
            "needed_by": trimmed.needed_by or None,
        }
        if trimmed.needed:
            note = "events that a subscription still needed were removed; relay ledger counts them as lost"
            log.error("topic.overflowed", **fields, lost=trimmed.needed, note=note)
        elif trimmed.needed_by and bounds.is_alarming(trimmed.size):
            note = "a group needs old events, so they cannot be removed; relay topics shows how far it is behind"
            log.error("topic.filling", **fields, note=note)
        elif trimmed.removed:
            log.info("topic.trimmed", **fields)


def _log_letters(name: GroupName, bounds: DeadBounds, trimmed: TrimmedLetters) -> None:
    fields = {
        "topic": name.topic,
        "group": name.group,
        "letters": trimmed.letters,
        "bytes": trimmed.size,
        "size": bounds.size,
        "note": f"replay or drop them: relay dead list --group {name}",
    }
    if trimmed.is_filling:
        log.error("dead_letters.filling", **fields)
    if trimmed.expired or trimmed.overflowed:
        log.error("dead_letters.discarded", **fields, expired=trimmed.expired, overflowed=trimmed.overflowed)
