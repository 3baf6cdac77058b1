"""The walk: every chat of the lines, and its messages of a span, compared with the message index.

Linq lists chats in no documented order and with no filter by time, so every chat is read. Chats that changed in the
span come first; then all others; then the lists are read again until one brings no chat that was not read, because a
chat that moves in a list can be skipped by its pages, and a list can come back short. The messages of a chat are read
from its first page on until one is older than the span, which needs them newest first: where they are not, all are
read.

    look    counts what is missing
    fill    puts it back as it goes (`store.gaps.backfilled`), and waits while the inbox of its shard is full

It is saved after every page of chats (`store.gaps.walk_record`).
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import structlog

from relay.core.errors import RelayError
from relay.gaps.compare import Candidate, candidate_of, gaps_among, is_of
from relay.gaps.rebuild import time_ms_of
from relay.store.driver.client import ask
from relay.store.gaps.backfilled import MAX_BACKFILLED, NoRoom, ShardPlace, by_shard, put_back
from relay.store.gaps.message_index import MessageIndex
from relay.store.gaps.walk_record import LineFindings, Mode, WalkRecord, WalkState
from relay.store.sharding.growth.fence import StalePlacement
from relay.store.sharding.growth.state import number_in_use

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from relay.core.config.relay_toml import RelayConfig
    from relay.gaps.compare import Gap
    from relay.linq.api.history import LinqHistory
    from relay.store.driver.client import Redis
    from relay.store.gaps.backfilled import MissingMessage
    from relay.store.gaps.message_index import ReadTo
    from relay.store.gaps.walk_record import Walk

_AT_ONCE = 4  # chats that are read at the same time
_MAX_PASSES = 6
_MAX_CANDIDATES = 20_000  # messages in hand; one is about 1 kB
_MAX_PAGES = 20_000  # of a list: two million rows
_PUT_AT_ONCE = 100  # messages of a script
_FULL_INBOX = 5_000  # events; then the backfill waits for the router
_PAUSE = 0.1
_MAX_PLACINGS = 300
_ROOM_TIMEOUT = 600.0  # seconds for which it waits for the router

log = structlog.get_logger()


class WalkError(RelayError):
    """A walk that cannot continue."""


class Walker:
    """A walk on its way."""

    def __init__(
        self,
        redis: Redis,
        history: LinqHistory,
        config: RelayConfig,
        walk: Walk,
        clock: Callable[[], float],
        on_progress: Callable[[Walk], None] = lambda _: None,
    ) -> None:
        """`redis` is the first shard, and `clock` gives Unix seconds."""
        self._shards = redis.shards
        self._history = history
        self._config = config
        self._walk = walk
        self._clock = clock
        self._on_progress = on_progress
        self._record = WalkRecord(redis, walk.account)
        self._index = MessageIndex(redis)
        self._calls_before = walk.calls - history.calls
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def run(self, only: dict[str, str] | None = None) -> Walk:
        """Walk to the end, and return the walk; with `only`, just through these chats, each with its line.

        Raises:
            RelayError: a page cannot be read, another walk has begun, or the inbox stays full.
        """
        walk = self._walk
        try:
            if only is None:
                await self._walk_all()
            else:
                await self._walk_some(only)
        except RelayError as error:
            walk.error = str(error)
            walk.state = WalkState.FAILED
            await self._record.save(walk)
            raise
        walk.state = WalkState.DONE
        await self._save()
        return walk

    async def _walk_all(self) -> None:
        for number in range(_MAX_PASSES):
            found = 0
            for line in self._walk.lines:
                async for chats in self._pages_of_chats(line):
                    recent = [chat for chat in chats if number or _has_changed(chat, self._walk.since_ms)]
                    found += await self._read_chats(line, recent)
            if number and not found:
                return

    async def _walk_some(self, only: dict[str, str]) -> None:
        names = list(only)
        for at in range(0, len(names), _AT_ONCE * 5):
            part = names[at : at + _AT_ONCE * 5]
            chats = [chat for chat in await asyncio.gather(*map(self._history.chat, part)) if chat is not None]
            for line in sorted({only[name] for name in part}):
                await self._read_chats(line, [chat for chat in chats if only[chat["id"]] == line])

    async def _pages_of_chats(self, line: str) -> AsyncIterator[list[dict[str, Any]]]:
        cursor, seen = None, set[str]()
        while True:
            page = await self._history.chats(line, cursor)
            yield page.rows
            cursor = page.cursor
            if cursor is None:
                return
            if cursor in seen or len(seen) > _MAX_PAGES:
                raise WalkError(f"Linq's list of the chats of {line} repeats its pages; nothing more was read")
            seen.add(cursor)

    async def _read_chats(self, line: str, chats: Sequence[dict[str, Any]]) -> int:
        """Read the chats of the line that are not done, compare, put back, save; return their number."""
        own = [chat for chat in chats if is_of(chat, line)]
        done = await self._record.done([chat["id"] for chat in own])
        new = list({chat["id"]: chat for chat in own if chat["id"] not in done}.values())
        for at in range(0, len(new), _AT_ONCE * 5):
            part = new[at : at + _AT_ONCE * 5]
            results = await asyncio.gather(*(self._candidates(line, chat) for chat in part))
            findings = self._walk.findings.setdefault(line, LineFindings())
            findings.chats += len(part)
            candidates = [candidate for found in results for candidate in found]
            for first in range(0, len(candidates), _MAX_CANDIDATES):
                await self._compare(findings, candidates[first : first + _MAX_CANDIDATES])
            await self._save([chat["id"] for chat in part])
        return len(new)

    async def _candidates(self, line: str, chat: dict[str, Any]) -> list[Candidate]:
        """Return the messages of a chat in the span."""
        walk, found = self._walk, dict[str, Candidate]()
        async with self._limit:
            cursor, seen, newest_first, oldest = None, set[str](), True, None
            while True:
                page = await self._history.messages(chat["id"], cursor)
                if page is not None and not page.rows and _has_changed(chat, walk.since_ms):
                    page = await self._history.messages(chat["id"], cursor)  # an empty page is doubted once
                if page is None:
                    walk.gone += 1
                    return []
                times = [at for message in page.rows if (at := time_ms_of(message)) is not None]
                ordered = [*([] if oldest is None else [oldest]), *times]
                newest_first = newest_first and all(a >= b for a, b in pairwise(ordered))
                oldest = times[-1] if times else oldest
                for message in page.rows:
                    candidate = candidate_of(chat, message, line, self._config)
                    if candidate is not None and walk.since_ms <= candidate.at_ms <= walk.until_ms:
                        found[message["id"]] = candidate
                cursor = page.cursor
                is_past = newest_first and oldest is not None and oldest < walk.since_ms
                if cursor is None or cursor in seen or is_past:
                    return list(found.values())
                if len(found) > _MAX_CANDIDATES or len(seen) > _MAX_PAGES:
                    raise WalkError(f"the list of the messages of chat {chat['id']} does not end; it was left out")
                seen.add(cursor)

    async def _compare(self, findings: LineFindings, candidates: Sequence[Candidate]) -> None:
        read = await self._index.read(self._walk.since_ms, self._now_ms())
        gaps, unwanted, unreadable = gaps_among(
            candidates, self._index, self._config, self._clock(), self._walk.account
        )
        findings.messages += len(candidates) - unwanted
        self._walk.unreadable += unreadable
        for gap in gaps:
            findings.missing += 1
            findings.untaken += not gap.is_taken
            findings.first_ms = min(findings.first_ms or gap.candidate.at_ms, gap.candidate.at_ms)
            findings.last_ms = max(findings.last_ms or 0, gap.candidate.at_ms)
            self._walk.chats_with_gaps[gap.candidate.chat["id"]] = gap.candidate.line
        if self._walk.mode is Mode.FILL:
            await self._put_back([gap for gap in gaps if gap.is_taken], read)

    async def _put_back(self, gaps: Sequence[Gap], read: Sequence[ReadTo]) -> None:
        """Put messages back, oldest first, each on its shard."""
        ordered = [gap.event for gap in sorted(gaps, key=lambda gap: gap.candidate.at_ms)]
        stale: StalePlacement | None = None
        for _ in range(_MAX_PLACINGS):
            ordered, stale = await self._put_placed(ordered, read)
            if stale is None:
                return
            await asyncio.sleep(_PAUSE)  # until a process has opened the new shards
        raise WalkError(str(stale))

    async def _put_placed(
        self, messages: Sequence[MissingMessage], read: Sequence[ReadTo]
    ) -> tuple[list[MissingMessage], StalePlacement | None]:
        """Put messages back; return those that a shard refused since the relay has grown meanwhile, and its error."""
        number = await number_in_use(self._shards[0]) if len(self._shards) > 1 else 1  # fewer while the relay grows
        left: list[MissingMessage] = []
        stale = None
        for shard, of_shard in by_shard(messages, number).items():
            for at in range(0, len(of_shard), _PUT_AT_ONCE):
                part = of_shard[at : at + _PUT_AT_ONCE]
                try:
                    await self._put_part(ShardPlace(self._shards[shard], read[shard], number), part)
                except StalePlacement as error:
                    left += part
                    stale = error
        return left, stale

    async def _put_part(self, place: ShardPlace, messages: Sequence[MissingMessage]) -> None:
        """Put messages back on a shard, once its inbox has room."""
        await _room_in_inbox(place.shard, self._clock)
        most = MAX_BACKFILLED // len(self._shards)
        try:
            result = await put_back(place, messages, self._now_ms(), most, self._walk.account)
        except NoRoom:
            noted, of_shard = ("a million", "") if len(self._shards) == 1 else (f"{most:,}", " on a shard")
            raise WalkError(
                f"{noted} backfilled messages are noted{of_shard}, which is the most; "
                "run relay backfill again when older ones have expired (RELAY_GAP_WINDOW)"
            ) from None
        self._walk.put += result.put
        self._walk.before += result.before
        self._walk.meanwhile += result.meanwhile

    async def _save(self, chats: Iterable[str] = ()) -> None:
        self._walk.at_ms, self._walk.calls = self._now_ms(), self._calls_before + self._history.calls
        if not await self._record.save(self._walk, chats):
            raise WalkError("another walk has begun meanwhile; this one ends")
        self._on_progress(self._walk)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


async def _room_in_inbox(shard: Redis, clock: Callable[[], float]) -> None:
    """Wait until the inbox of a shard has room.

    Raises:
        WalkError: it stays full.
    """
    give_up_at = clock() + _ROOM_TIMEOUT
    while await ask(shard.xlen(shard.key.inbox)) >= _FULL_INBOX:
        if clock() > give_up_at:
            raise WalkError("the inbox stays full: no worker routes; start one (relay worker) and run it again")
        await asyncio.sleep(_PAUSE)


def _has_changed(chat: dict[str, Any], since_ms: int) -> bool:
    """Return True if a chat says that it changed since a time, or does not say when it did."""
    changed = time_ms_of({"updated_at": chat.get("updated_at")})
    return changed is None or changed >= since_ms
