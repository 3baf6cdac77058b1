"""Replays of a topic that is a stream on each of several shards: one replay for people, with a part on each shard.

    start     the first shard's record names the parts, and is written in one step: from then on the replay exists
    parts     each is started on its shard, once, with a record of the same id; the replayer there advances it
              (`workers.maintenance.replayer`) at its share of the rate, by its share of the events
    end       the first shard's record runs until its own events are sent and every part has ended, and then ends

What a killed process leaves undone, the first shard's replayer does: it starts the parts that were not started, and
notes in its record how each ended. If a replay was cancelled, the replayers of the parts see that in the record.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.store import wakeups
from relay.store.driver.scripts import Script
from relay.store.driver.streams import order_of
from relay.store.isolation import UNAVAILABLE
from relay.store.sharding.places import entry_name, grouped_by_shard
from relay.store.topics.history import Span
from relay.store.topics.replays import MAX_REMEMBERED, Replay, Replays, State, fields_of
from relay.store.topics.whole.replay_parts import Part, PartEnd, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.store.driver.client import Redis
    from relay.store.topics.history import Survey
    from relay.store.topics.replays import Order

_start, _note = Script(__package__, "start_part"), Script(__package__, "note_part")


class WholeReplays:
    """The replays of a relay, each with its parts on all shards."""

    def __init__(self, home: Redis) -> None:
        """`home` is the client of the first shard."""
        self._shards = home.shards
        self._redis = home
        self._home = Replays(home)

    async def start(self, order: Order, surveys: Sequence[Survey], now_ms: int) -> Replay:
        """Start a replay of the surveyed spans, of the shards by number."""
        replay = await self._home.start(order, surveys[0], now_ms, parts_of(surveys))
        await self._start_parts(replay)
        return joined(replay, {})

    async def get(self, replay_id: str) -> Replay | None:
        """Return the replay with the progress on all shards; None if it does not exist."""
        found = await self._home.get(replay_id)
        return None if found is None else (await self._joined([found]))[0]

    async def all(self) -> list[Replay]:
        """Return the running and the remembered replays, the oldest first."""
        return await self._joined(await self._home.all())

    async def end(self, replay_id: str, state: State, reason: str, now_ms: int) -> bool:
        """End a replay with its parts; return False if it has ended before, or does not exist."""
        was_running = await self._home.end(replay_id, state, reason, now_ms)
        for shard in self._shards[1:]:
            with suppress(*UNAVAILABLE):  # its replayer sees that the replay has ended
                await Replays(shard).end(replay_id, state, reason, now_ms)
        return was_running

    async def settled(self, replay: Replay) -> Replay:
        """Start what is not started of a replay as the first shard has it, and note what has ended; return it as noted.

        A part on a shard that is away is left as it is.
        """
        await self._start_parts(replay)
        for part in replay.parts:
            if part.is_started and part.ended is None:
                with suppress(*UNAVAILABLE):
                    await self._note_end(replay, part)
        return await self._home.get(replay.id) or replay

    async def _start_parts(self, replay: Replay) -> None:
        for part in replay.parts:
            if not part.is_started:
                with suppress(*UNAVAILABLE):
                    await self._start_part(replay, part)

    async def _start_part(self, replay: Replay, part: Part) -> None:
        shard = self._shards[part.shard]
        of_part = replace(
            replay,
            order=replace(replay.order, rate=replay.rate_of(part.matching)),
            span=part.span,
            events=part.events,
            matching=part.matching,
            cursor=part.span.after,
            parts=(),
        )
        redis_keys = [shard.key.replay(replay.id), shard.key.replays_running, shard.key.replays]
        arguments: list[bytes | str | int] = [replay.id, replay.started_ms, MAX_REMEMBERED]
        arguments += (item for field in fields_of(of_part).items() for item in map(str, field))
        await _start(shard, redis_keys, arguments)
        await wakeups.wake(shard, wakeups.replay(shard.key))
        await self._write(replay, part.started_field, "1")

    async def _note_end(self, replay: Replay, part: Part) -> None:
        found = await Replays(self._shards[part.shard]).get(replay.id)
        if found is None:
            reason = f"its record on shard {part.shard} was deleted"
            end = PartEnd(State.FAILED, 0, 0, part.span.after, reason)
        elif found.state is State.RUNNING:
            return
        else:
            end = PartEnd(found.state, found.seen, found.sent, found.cursor, found.reason)
        await self._write(replay, part.ended_field, end.encode())

    async def _write(self, replay: Replay, field: str, value: str) -> None:
        await _note(self._redis, [self._redis.key.replay(replay.id)], [field, value])

    async def _joined(self, replays: Sequence[Replay]) -> list[Replay]:
        """Return replays of the first shard with the progress of their parts."""
        open_parts = ((each.id, part.shard) for each in replays for part in each.parts if part.ended is None)
        wanted = grouped_by_shard(open_parts, len(self._shards))
        records: dict[str, dict[int, Replay]] = {}
        for number, ids in wanted.items():
            for found in await Replays(self._shards[number]).of(ids):
                records.setdefault(found.id, {})[number] = found
        return [joined(replay, records.get(replay.id, {})) for replay in replays]


def joined(replay: Replay, records: Mapping[int, Replay]) -> Replay:
    """Return a replay of the first shard as one, with the records of its parts that have not ended, by shard."""
    if not replay.parts:
        return replay
    progress = {part.shard: part.ended or _progress(part, records.get(part.shard)) for part in replay.parts}
    ends = [(replay.span.end, 0), *((part.span.end, part.shard) for part in replay.parts)]
    cursors = [(replay.cursor, 0), *((each.cursor, shard) for shard, each in progress.items())]
    left = [cursor for cursor, end in zip(cursors, ends, strict=True) if cursor != end]
    end = entry_name(*max(ends, key=_order))
    return replace(
        replay,
        span=Span(replay.span.after, end),
        events=replay.events + sum(part.events for part in replay.parts),
        matching=replay.matching + sum(part.matching for part in replay.parts),
        cursor=entry_name(*min(left, key=_order)) if left else end,
        seen=replay.seen + sum(each.seen for each in progress.values()),
        sent=replay.sent + sum(each.sent for each in progress.values()),
        parts=(),
    )


def _progress(part: Part, record: Replay | None) -> PartEnd:
    if record is None:  # not started yet
        return PartEnd(State.RUNNING, 0, 0, part.span.after, "")
    return PartEnd(record.state, record.seen, record.sent, record.cursor, record.reason)


def _order(end: tuple[str, int]) -> tuple[tuple[int, int], int]:
    return order_of(end[0]), end[1]
