"""The route job: from the inbox into the topics.

    read         up to 128 entries (first those that a former router left pending), waiting for the first
    understand   each by itself, and its line by its chat if it does not prove one (`workers.understander`)
    match        each against relay.toml, pure
    commit       one script: acknowledge, delete, append to topics, count, wake the lanes that were fed

There is one router at a time, so a topic has its events in the order they were accepted. An event that cannot be
understood is set aside in the same commit; it never holds up its batch.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.core.event import Event
from relay.store import aside
from relay.store.chat_lines import ChatLines
from relay.store.connect import persistently
from relay.store.inbox import Inbox, InboxEntry, InboxGroupMissing, Move, compile_plan
from relay.store.lanes import Lane
from relay.store.record import fields_of
from relay.store.taking import LeaseLost
from workers.understander import Strange, poisoned, understand_batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.config_file import ConfigFile, Loaded
    from relay.core.rules import TopicIndex
    from workers.lease import Lease

_BATCH = 128
_BLOCK_MS = 1000
_LINGER = 30.0  # seconds without an event before the job ends; the next event then waits for arq's poll
_RUN = 60.0  # seconds before the job ends and is rung again, so that another worker can have it

log = structlog.get_logger()


class Router:
    """Drains the inbox."""

    def __init__(self, redis: Redis, rules: ConfigFile, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._inbox = Inbox(redis)
        self._chats = ChatLines(redis, clock)
        self._rules = rules
        self._clock = clock
        self._may_be_pending = True
        self._woken_in_vain = False
        self._prepared: Loaded | None = None
        self._plan = b""
        self._positions: dict[str, int] = {}

    async def drain(self, lease: Lease, stop: asyncio.Event) -> None:
        """Routes until it has been idle for a while, has run for a while, is stopped or loses its lease."""
        loop = asyncio.get_running_loop()
        began = busy_at = loop.time()
        self._may_be_pending = True
        await self._prepare(self._rules.current)
        await self._chats.begin()
        while not (stop.is_set() or lease.lost.is_set()):
            now = loop.time()
            if now - busy_at > _LINGER or now - began > _RUN:
                return
            try:
                entries = await persistently("reading the inbox", partial(self._read, lease.token), self._suspect)
                if entries:
                    await self._route(entries, lease, self._rules.current)
                    busy_at = loop.time()
            except LeaseLost:
                lease.lost.set()

    async def _prepare(self, loaded: Loaded) -> None:
        """Makes sure that every lane's group stands before an event is routed under these rules."""
        for subscription in loaded.config.subscriptions:
            lane = Lane(self._redis, subscription.name, subscription.topic)
            await persistently("preparing lanes", lane.ensure)
        self._plan, self._positions = compile_plan(loaded.config)
        self._prepared = loaded

    def _suspect(self) -> None:
        """There may be entries pending that we do not know of (`LaneDrain.suspect` says how), and learning undone."""
        self._may_be_pending = True
        self._chats.suspect()

    async def _read(self, token: str) -> list[InboxEntry]:
        """The next entries, waiting a while for the first; empty if there are none, or if it is worth another look."""
        try:
            return await self._read_pending(token) or await self._read_new(token)
        except InboxGroupMissing:
            # Redis is new or has lost its data: the lanes' groups may be gone as well, and come first.
            self._chats.suspect()
            await self._prepare(self._rules.current)
            await self._inbox.ensure()
            return []

    async def _read_pending(self, token: str) -> list[InboxEntry]:
        if not self._may_be_pending:
            return []
        entries = await self._inbox.read(_BATCH, token, pending=True)
        if entries:
            self._woken_in_vain = False
            return entries
        self._may_be_pending = False
        if self._woken_in_vain:
            log.warning("inbox.rewound", note="it has entries that were neither new nor pending")
            await self._inbox.rewind()
            self._woken_in_vain = False
        return []

    async def _read_new(self, token: str) -> list[InboxEntry]:
        entries = await self._inbox.read(_BATCH, token)
        if entries or not await self._inbox.wait(_BLOCK_MS):
            return entries
        entries = await self._inbox.read(_BATCH, token)
        # What is in the inbox and not new has to be pending.
        self._may_be_pending = self._woken_in_vain = not entries
        return entries

    async def _route(self, entries: list[InboxEntry], lease: Lease, loaded: Loaded) -> None:
        if loaded is not self._prepared:
            await self._prepare(loaded)
        began = self._clock()
        events = await understand_batch(entries, self._chats, lease.token)
        moves = [_move(entry, event, loaded.config.index) for entry, event in zip(entries, events, strict=True)]
        now_ms = round(began * 1000)
        committed = await persistently(
            "routing",
            lambda: self._inbox.commit(self._plan, self._positions, moves, lease.token, now_ms),
            self._suspect,
        )
        if not committed:
            lease.lost.set()
            return
        log.info(
            "batch.routed",
            events=len(moves),
            routed=sum(bool(move.topics) for move in moves),
            unmatched=sum(not move.topics and not move.aside for move in moves),
            aside=sum(move.aside for move in moves),
            ms=round((self._clock() - began) * 1000, 2),
        )


def _move(entry: InboxEntry, event: Event | Strange, index: TopicIndex) -> Move:
    """Where an entry goes by the rules; aside if it cannot be told."""
    if isinstance(event, Event):
        try:
            fields = fields_of(event, entry.at, entry.webhook_id, entry.body)
            return Move(entry.entry, event.type, index.match(event), fields)
        except Exception as error:  # noqa: BLE001  see `poisoned`
            event = poisoned(entry, error)
    aside_fields = aside.fields_of(entry.dialect, entry.line, entry.body, event.reason, entry.at)
    pairs = {**aside_fields, "webhook_id": entry.webhook_id}.items()
    return Move(entry.entry, "", (), [part for pair in pairs for part in pair], aside=True)
