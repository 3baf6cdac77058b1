"""The route job: from the inbox into the topics.

    read      up to 128 entries, waiting for the first; after a full batch the next is read at once
    decode    each entry by itself, and its line by its chat if it proves none (`workers.routing.decoder`)
    match     each event against relay.toml, pure
    commit    one script: delete, append to topics, count, wake the lanes that got events, or give lanes of this process
              the events at once if they are few (`relay.store.inbox.reading.hand_over`)

While a batch is committed, the next is decoded and the one after that is read, so that Redis and Python work at the
same time; commits follow one another. After any error the batches in hand are dropped and read again: an entry leaves
the inbox only in the commit that routes it.

There is one router at a time, so a topic has its events in the order they were accepted. An entry that cannot be
decoded is quarantined in the same commit; it never blocks its batch.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.config.settings import DEFAULT_GAP_WINDOW
from relay.core.event import Dialect, Event
from relay.metrics.worker_metrics import WorkerMetrics
from relay.process.tasks import in_background
from relay.process.timings import DEFAULTS, Timings
from relay.store.account_events import AccountEvents
from relay.store.driver.client import REDIS_ERRORS, retry_until_redis_answers
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.gaps.message_index import INDEXED, begin_index, lifetime_ms
from relay.store.inbox.chat_lines import ChatLines
from relay.store.inbox.inbox import Feed, Inbox, InboxEntry, NotPrepared, Permit, compile_feeds, parts_of
from relay.store.inbox.reading.hand_over import MAX_EVENTS, HandOver
from relay.store.inbox.reading.next_read import NextRead
from relay.store.isolation import Isolation
from relay.store.keyring.line_accounts import LineAccounts
from relay.store.lanes.many.look import LanePlace
from relay.store.lanes.many.prepare import mark_of, prepare_lanes
from relay.store.lines.activity import Tally, count_lines
from relay.store.topics.registry import register_topics
from workers.routing.decoder import account_events_in, decode_batch
from workers.routing.facts import BodyFacts
from workers.routing.line_changes import record_line_changes
from workers.routing.moves import move_of
from workers.routing.opt_outs import record_opt_outs_of
from workers.routing.records import Records
from workers.routing.route_spans import RouteSpans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.config.file import Loaded, RulesInForce
    from relay.process.telemetry.spans import Tracer
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from relay.store.inbox.inbox import Arguments
    from relay.store.inbox.reading.hand_over import Receivers
    from workers.routing.route_spans import Routed

_BATCH = 128
# Turns of the loop until redis-py, which first checks whether its connection is still open, has written its commands.
# Only then does Redis work while the next batch is decoded: 33,800 events/s on two cores, and 25,800 with one turn.
_TURNS = 8

log = structlog.get_logger()


class _Prepared(NamedTuple):
    """Rules, once the lanes of all their subscriptions exist."""

    loaded: Loaded
    feeds: Mapping[str, Feed]
    mark: str


class _Batch(NamedTuple):
    """Entries that are ready to be committed."""

    parts: Sequence[Arguments]
    events: int
    mark: str
    """The mark of the rules they were matched with."""
    began: float
    """Start of their decoding, Unix seconds."""
    tally: Tally
    unreadable: Sequence[Dialect] = ()
    """The dialects of the entries to quarantine."""
    lanes: Sequence[tuple[str, str]] = ()
    """The lanes to which it may be handed over, each with the stream of its topic."""
    size: int = 0
    """Bytes of its bodies, if it may be handed over."""
    traced: Sequence[Routed] = ()
    """Events that get a span."""


class Router:
    """The drain of the inbox into the topics."""

    def __init__(  # noqa: PLR0913  the parts of a worker
        self,
        redis: Redis,
        rules: RulesInForce,
        clock: Callable[[], float],
        timings: Timings = DEFAULTS,
        metrics: WorkerMetrics | None = None,
        tracer: Tracer | None = None,
        *,
        gap_window: float = DEFAULT_GAP_WINDOW,
        receivers: Receivers | None = None,
        home: Redis | None = None,
    ) -> None:
        """`clock` gives Unix seconds; without `tracer` traces are off; `gap_window` is the message index's, seconds.

        `receivers` are the lanes to which small batches are handed over; `home` is the first shard, if this is another.
        """
        self._metrics = metrics or WorkerMetrics.unscraped()
        self._facts = BodyFacts(self._metrics)
        self._redis, self._home = redis, home or redis
        self._inbox = Inbox(redis, lifetime_ms(gap_window))
        self._indexed = INDEXED if gap_window else frozenset[str]()
        self._chats = ChatLines(redis, clock, home=self._home)
        self._accounts = LineAccounts(self._home)
        self._account_events = AccountEvents(self._home)
        self._receivers: Receivers = {} if receivers is None else receivers
        self._rules = rules
        self._clock = clock
        self._records = Records(self._home, clock)
        self._idle_timeout, self._max_run = timings.idle, timings.run
        self._next_read = NextRead(redis, _BATCH, round(timings.router_block * 1000))
        self._isolation = Isolation(redis)
        self._spans = None if tracer is None else RouteSpans(tracer)
        self._logs_batches = bool(log.is_enabled_for(logging.INFO))  # never changes; structlog takes 2 us to tell it
        self._prepared: _Prepared  # set when a drain begins
        self._entries: list[InboxEntry] = []  # to be decoded next
        self._batch: _Batch | None = None  # to be committed next

    async def drain(self, lease: Lease, stop: asyncio.Event) -> None:
        """Route until the inbox was idle for long, the drain has run for long, `stop` is set or the lease is lost."""
        try:
            await self._begin()
            await self._route(lease, stop)
            await self._records.finish()
        finally:
            await self._records.stop()
            await self._next_read.aclose()

    async def _begin(self) -> None:
        self._drop()
        self._prepared = await self._prepare()
        await self._chats.begin()
        await retry_until_redis_answers("reading lines", lambda: self._accounts.begin(self._prepared.loaded.config))
        if self._indexed:
            with suppress(*REDIS_ERRORS):  # at `maxmemory` it is refused, and a later drain begins it
                await begin_index(self._redis, round(self._clock() * 1000), self._home)

    async def _route(self, lease: Lease, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        began = busy_at = loop.time()
        while not (stop.is_set() or lease.lost.is_set()):
            now = loop.time()
            if now - busy_at > self._idle_timeout or now - began > self._max_run:
                break
            try:
                if await retry_until_redis_answers("routing", partial(self._step, lease), self._resync):
                    busy_at = loop.time()
            except LeaseLost:
                lease.lost.set()
            except NotPrepared:
                self._resync()
                self._prepared = await self._prepare()

    async def _prepare(self) -> _Prepared:
        """Create the consumer group of every lane before an event is routed under the rules in force.

        The mark in Redis names the lanes that exist: with the same one, nothing has to be done. A lane that another
        client has damaged does not delay the events of all others: the sweeper tries again.
        """
        loaded, key = self._rules.current, self._redis.key
        places = [LanePlace(each.name, key.topic(each.topic)) for each in loaded.config.subscriptions]
        prepared = _Prepared(loaded, compile_feeds(loaded.config, key), mark_of(places))
        if await retry_until_redis_answers("preparing lanes", self._inbox.preparation) == prepared.mark:
            return prepared
        names = [topic.name for topic in loaded.config.topics]
        await retry_until_redis_answers("preparing topics", lambda: register_topics(self._redis, names))
        failed = await retry_until_redis_answers("preparing lanes", lambda: prepare_lanes(self._redis, places))
        for name, error in failed.items():
            await self._isolation.contain("lane", name, _raised(error), key.lane_types(name))
        await retry_until_redis_answers("preparing lanes", lambda: self._inbox.mark_prepared(prepared.mark))
        return prepared

    def _drop(self) -> None:
        """Forget the batches in hand: their entries stay in the inbox until they are routed."""
        self._entries, self._batch = [], None

    def _resync(self) -> None:
        """Start over from Redis, which may have lost data or have failed over."""
        self._drop()
        self._chats.resync()

    async def _step(self, lease: Lease) -> bool:
        """Advance the batches in hand, and wait for entries if none are left. Returns False if there were none."""
        had_entries = bool(self._batch or self._entries)
        if self._batch or len(self._entries) == _BATCH:
            await self._overlap(lease)
        elif had_entries:
            await self._commit(await self._decode(lease), lease, self._next_read)
            self._drop()
        self._records.write_if_due()
        if not (self._batch or self._entries):
            self._entries = await self._inbox.next(self._next_read)
        return had_entries or bool(self._entries)

    async def _overlap(self, lease: Lease) -> None:
        """Commit a batch, decode the next and read the one after it, all at the same time."""
        async with (
            in_background(self._commit(self._batch, lease)) as committing,
            in_background(self._read_ahead()) as reading,
        ):
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            batch = await self._decode(lease)
            await committing
            self._batch, self._entries = batch, await reading

    async def _read_ahead(self) -> list[InboxEntry]:
        """Read the next entries; none after a batch that is not full, so that the next batch can fill up."""
        if len(self._entries) < _BATCH:
            return []
        return await self._inbox.read(_BATCH, self._entries[-1].entry)

    async def _decode(self, lease: Lease) -> _Batch | None:
        if not self._entries:
            return None
        began, entries = self._clock(), self._entries
        if self._rules.current is not self._prepared.loaded:
            self._prepared = await self._prepare()
        prepared, accounts = self._prepared, self._accounts
        if accounts.is_due(prepared.loaded.config):
            await accounts.read(prepared.loaded.config)
        events = await decode_batch(entries, self._chats, lease.token, accounts.known)
        if account_events := account_events_in(entries, events, round(began * 1000), accounts.known):
            noting = self._account_events.note(account_events, round(began * 1000))
            key = self._home.key.linq_events
            await self._isolation.contain("account_events", key, noting, {key: "stream"})
        # What the relay has made itself tells nothing of Linq's payloads, and nothing of a line's rhythm.
        both = zip(entries, events, strict=True)
        of_linq = [(event, entry.body) for entry, event in both if isinstance(event, Event) and not entry.source]
        self._records.decoded(of_linq)
        index = prepared.loaded.config.index
        await record_line_changes(self._home, entries, events)
        if prepared.loaded.config.linq.opt_outs:
            await record_opt_outs_of(self._redis, entries, events, lease.token, self._home)
        indexed, facts = self._indexed, self._facts
        moves = [move_of(entry, event, index, indexed, facts) for entry, event in zip(entries, events, strict=True)]
        unreadable = [entry.dialect for entry, move in zip(entries, moves, strict=True) if move.quarantined]
        tally = Tally(entries[-1].at_ms or round(began * 1000), count_lines([event for event, _ in of_linq]))
        parts, lanes, size = parts_of(prepared.feeds, moves), list[tuple[str, str]](), 0
        if len(moves) <= MAX_EVENTS:
            topics = dict.fromkeys(chain.from_iterable([move.topics for move in moves]))
            lanes = [lane for topic in topics for lane in prepared.feeds[topic].lanes]
            size = sum(move.size for move in moves)
        batch = _Batch(parts, len(moves), prepared.mark, began, tally, unreadable, lanes, size)
        if self._spans is None:
            return batch
        pairs = zip(events, moves, strict=True)
        routed = [(event, move.topics) for event, move in pairs if isinstance(event, Event) and not move.quarantined]
        return batch._replace(traced=self._spans.sampled(routed))

    async def _commit(self, batch: _Batch | None, lease: Lease, next_read: NextRead | None = None) -> None:
        """Commit a batch; with `next_read`, the read of the next entries is sent with it."""
        if batch is None:
            return
        parts, events, mark, began, tally, unreadable, lanes, size, traced = batch
        permit, now_ms = Permit(lease.token, mark), round(self._clock() * 1000)
        with HandOver(self._receivers, lanes, size) as hand_over:
            moved = await self._inbox.commit(parts, permit, now_ms, hand_over, next_read)
        self._metrics.routed(moved.routed, moved.unmatched)
        if any(moved):
            self._records.routed(tally)
        for dialect in unreadable if moved.quarantined else ():
            self._metrics.quarantined(dialect)
        if self._spans is not None:
            self._spans.record(traced, began, self._clock())
        for topic in self._inbox.holding:
            await self._isolation.look("topic", topic, {self._redis.key.topic(topic): "stream"})
        if self._logs_batches:
            log.info("batch.routed", events=events, **moved._asdict(), ms=round((self._clock() - began) * 1000, 2))


async def _raised(error: Exception) -> None:
    raise error
