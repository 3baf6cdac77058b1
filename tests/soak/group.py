"""A group of a soak: its members, which are killed, stopped and started again at random, and what happens to all."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from tests.soak.member import Life, start_life
from tests.soak.options import STREAM, Options, Treatment
from tests.soak.records import Deletion, GroupRecord, Pause, Release, entry_of

if TYPE_CHECKING:
    import random

    from relay.store.driver.client import Redis
    from tests.soak.topic import Topic

PLACES = f"{STREAM}:places"
RETURNED = "relay:returned"

_PAUSES = (0.5, 3.0)  # seconds between two faults of a group
_DOWN = (0.0, 1.5)  # seconds until a successor starts
_SAME_NAME = 0.5
_KILL, _STOP = 0.5, 0.9  # shares: kill, stop, the rest stops two at once
_ALL = 1_000_000


class Group:
    """A group with its members."""

    def __init__(
        self, name: str, command: list[str], options: Options, redis: Redis, topic: Topic, record: GroupRecord
    ) -> None:
        self.name = name
        self.record = record
        self.in_use = asyncio.Lock()
        """Acquired while members are killed, or stand still."""
        self._command = command
        self._options = options
        self._redis = redis
        self._topic = topic
        self._lives: dict[int, Life] = {}
        self._started = 0
        self._watchers: set[asyncio.Task[None]] = set()
        self._is_ending = False
        self._environment = {**options.environment, "GROUP": name}

    async def start(self, redis_url: str) -> None:
        """Start every member, and wait until one has made the group."""
        self._environment["REDIS_URL"] = redis_url
        await asyncio.gather(*(self._start(f"{self.name}-{number}") for number in range(self._options.members)))
        await self._until_made()

    async def disturb(self, dice: random.Random, is_over: asyncio.Event) -> None:
        """Kill and stop members at random until it is over; one of them is always left alone."""
        while not is_over.is_set():
            await asyncio.sleep(dice.uniform(*_PAUSES))
            async with self.in_use:
                able = [life for life in self._lives.values() if life.has_begun.is_set()]
                share = dice.random()
                count = min(1 if share < _STOP else 2, len(able) - 1)
                chosen = dice.sample(able, max(count, 0))
                await asyncio.gather(*(self._end(life, is_kill=share < _KILL) for life in chosen))
                names = [life.member if dice.random() < _SAME_NAME else "" for life in chosen]
            await asyncio.sleep(dice.uniform(*_DOWN))
            async with self.in_use:
                await asyncio.gather(*map(self._start, names))

    async def pause(self, seconds: float) -> None:
        """Have all members stand still, and remove a part of what they have yet to read."""
        async with self.in_use:
            began = time.time()
            for life in self._lives.values():
                life.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
                await self._topic.trim_ahead(self.name, 0.7)
            finally:
                for life in self._lives.values():
                    life.signal(signal.SIGCONT)
            self.record.pauses.append(Pause(began, time.time()))

    async def delete(self) -> None:
        """Delete the group as a mistake would, which leaves its place; wait until a member has made it again."""
        async with self.in_use:
            began = time.time()
            await self._topic.destroy(self.name)
            place = await self._redis.hget(PLACES, self.name)  # type: ignore[misc]  # typed for the blocking client too
            self.record.deletions.append(Deletion(began, entry_of(place or "0-0")))
            await self._until_made()

    async def owed(self) -> tuple[int, int]:
        """Return how many entries the group has not acknowledged, and has not read."""
        for row in await self._redis.xinfo_groups(STREAM):
            if row["name"].decode() == self.name:
                position = row["last-delivered-id"].decode()
                return row["pending"], len(await self._redis.xrange(STREAM, f"({position}", "+", count=1000))
        return 0, len(self._topic.routed)

    async def close(self) -> None:
        """Stop every member; none may have anything left."""
        self._is_ending = True
        async with self.in_use:
            await asyncio.gather(*(self._end(life, is_kill=False) for life in list(self._lives.values())))

    async def kill_all(self) -> None:
        """Kill what still runs."""
        self._is_ending = True
        for life in list(self._lives.values()):
            life.is_expected_to_end = True
            life.signal(signal.SIGKILL)
            await life.end()
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _start(self, member: str) -> None:
        if self._is_ending:
            return
        self._started += 1
        number = self._started
        member = member or f"{self.name}-new-{number}"
        log = self._options.directory / f"{self.name}.log"
        life = await start_life(number, member, self._command, self._environment, self.record, log)
        self._lives[number] = life
        self.record.living.add(member)
        watcher = asyncio.create_task(self._watch(life))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _end(self, life: Life, *, is_kill: bool) -> None:
        """End a member and record what it had in hand."""
        if life.number not in self._lives:
            return
        del self._lives[life.number]
        life.is_expected_to_end = True
        if is_kill:
            self.record.kills += 1
            life.signal(signal.SIGKILL)
            await life.end()
            self.record.living.discard(life.member)
            await self._release("kill", life, life.member)
            return
        self.record.stops += 1
        await self._release("stop", life, life.member)
        began = time.time()
        code = await life.stop()
        self.record.stopping.append(Pause(began, time.time()))
        self.record.living.discard(life.member)
        if code == -signal.SIGKILL and self._has_crashed(life):  # it was just about to
            await self._release("kill", life, life.member)
            return
        is_starting = not life.has_begun.is_set() and code == -signal.SIGTERM  # it had no handler of the signal yet
        if code != 0 and not is_starting:
            self.record.broken.append(
                f"life {life.number} ended with {code} after SIGTERM, in {time.time() - began:.1f} s"
            )
        if left := await self._pending_of(life.member):
            self.record.broken.append(f"life {life.number} left with {len(left)} pending events of its own")
        await self._release("stop", life, RETURNED)

    async def _watch(self, life: Life) -> None:
        """Start a successor of a member that ended by itself, as a supervisor would."""
        code = await life.end()
        if life.is_expected_to_end or life.number not in self._lives:
            return
        del self._lives[life.number]
        self.record.living.discard(life.member)
        if code != -signal.SIGKILL or not self._has_crashed(life):
            self.record.broken.append(f"life {life.number} ended by itself with {code}")
        await self._release("kill", life, life.member)
        async with self.in_use:
            await self._start(life.member)

    def _has_crashed(self, life: Life) -> bool:
        return life.last_begun is not None and self._options.treatment_of(life.last_begun) is Treatment.CRASH

    async def _release(self, kind: str, life: Life, holder: str) -> None:
        """Record the events that a consumer of the group has: those that the others may have from now on."""
        now = time.time()
        entries = await self._pending_of(holder)
        await self._topic.read()
        numbers = frozenset(self._topic.numbers[entry_of(entry)] for entry in entries)
        self.record.releases.append(Release(kind, life.number, now, numbers))

    async def _pending_of(self, member: str) -> list[str]:
        try:
            rows = await self._redis.xpending_range(STREAM, self.name, "-", "+", _ALL, consumername=member)
        except ResponseError:  # the group was deleted; all beyond its place comes again
            return []
        return [row["message_id"].decode() for row in rows]

    async def _until_made(self) -> None:
        async with asyncio.timeout(60):
            while all(row["name"].decode() != self.name for row in await self._redis.xinfo_groups(STREAM)):
                await asyncio.sleep(0.02)
