"""Deletions by hand while events are in flight: each event is delivered again or counted as lost, and the log says so.

One parameter for each key of `relay.store.keys`, and for each command that deletes only a part of one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.store import keys, wakeups
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.ledger.ledger import Ledger
from tests.building import webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS, accept, routing, rules_for
from tests.workers.delivering import delivering, ledger_of, now_ms
from workers.maintenance.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.ledger.ledger import LaneLedger
    from tests.workers.conftest import Received, Sink

STREAM, GROUP, LANE = KEYS.topic("messages"), keys.push_group("bot"), KEYS.lane("bot")
REPLAYS, DEAD = KEYS.lane("bot", "replay"), KEYS.lane("bot", "dead")


@dataclass
class Scene:
    """Events of one lane in every state: delivered, dead, replayed, waiting for a retry, in flight and unread."""

    redis: Redis
    sweeper: Sweeper
    sent: set[str] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    is_down: bool = True
    delivered: Counter[str] = field(default_factory=Counter)

    async def answer(self, received: Received) -> web.Response:
        event = received.headers["webhook-id"]
        if received.path != "/bot":
            return web.Response()
        if event.startswith("dead") and "relay-replay" not in received.headers:
            return web.Response(status=404)
        if event.startswith("retry") and self.is_down:
            return web.Response(status=500)
        if event.startswith(("held", "dead-replayed")):
            await self.released.wait()
        self.delivered[event] += 1
        return web.Response()

    async def send(self, *events: str) -> None:
        self.sent |= set(events)
        await accept(self.redis, *(webhook_of(event_id=event) for event in events))

    async def recover(self) -> None:
        """Answer 200 from now on, and let the worker find waiting retries at its next count."""
        self.is_down = False
        self.released.set()
        await self.redis.delete(part("retries"))


@asynccontextmanager
async def scene_of(redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink) -> AsyncIterator[Scene]:
    rules_file.write_text(rules_for(sink, retry='["1h"]', bot="concurrency = 2"))
    rules.reload()
    scene = Scene(redis, Sweeper(redis, rules, time.time))
    sink.answer = scene.answer
    async with routing(redis, rules), delivering(redis, rules, timings=replace(TIMINGS, pending_count=0.05)):
        await scene.send("done1", "dead1", "dead-replayed", "retry1", "done2")
        await eventually(lambda: count_is(redis, delivered=2, dead=2, retrying=1))
        await scene.sweeper.sweep()
        letters = [letter async for letter in DeadLetters(redis).of("bot")]
        [replayed] = [letter.record.entry for letter in letters if letter.record.id == "dead-replayed"]
        await DeadLetters(redis).replay("bot", [replayed], now_ms())
        await scene.send("done3", "retry2", "held1", "held2", *(f"unread{n}" for n in range(60)))
        await eventually(lambda: count_is(redis, routed=69, delivered=3, dead=1, retrying=2))
        yield scene
        scene.released.set()


async def count_is(redis: Redis, **expected: int) -> bool:
    rows = [row for row in await Ledger(redis).lanes() if row.subscription == "bot"]  # none until the lane is created
    return bool(rows) and all(getattr(rows[0], name) == value for name, value in expected.items())


def part(name: str) -> str:
    return KEYS.lane("bot", name)


async def delete_entries(redis: Redis, stream: str, count: int) -> None:
    """Delete the last entries of a stream."""
    await redis.xdel(stream, *[entry for entry, _ in await redis.xrevrange(stream, count=count)])


async def acknowledge(redis: Redis) -> None:
    rows = await redis.xpending_range(STREAM, GROUP, "-", "+", 10)
    await redis.xack(STREAM, GROUP, *[row["message_id"] for row in rows])


COMMANDS: dict[str, tuple[Callable[[Redis], Awaitable[object]], str]] = {
    "XGROUP DELCONSUMER": (lambda redis: redis.xgroup_delconsumer(STREAM, GROUP, keys.CONSUMER), f"{STREAM} {GROUP}"),
    "XGROUP DESTROY": (lambda redis: redis.xgroup_destroy(STREAM, GROUP), f"{STREAM} {GROUP}"),
    "XGROUP SETID $": (lambda redis: redis.xgroup_setid(STREAM, GROUP, "$"), f"{STREAM} {GROUP}"),
    "XGROUP SETID 0": (lambda redis: redis.xgroup_setid(STREAM, GROUP, "0"), STREAM),
    "XACK": (acknowledge, f"{STREAM} {GROUP}"),
    "XDEL of unread events": (lambda redis: delete_entries(redis, STREAM, 5), STREAM),
    "XTRIM MAXLEN 0": (lambda redis: redis.xtrim(STREAM, maxlen=0, approximate=False), STREAM),
    "XGROUP DELCONSUMER of replays": (lambda redis: redis.xgroup_delconsumer(REPLAYS, GROUP, keys.CONSUMER), REPLAYS),
    "XGROUP DESTROY of replays": (lambda redis: redis.xgroup_destroy(REPLAYS, GROUP), ""),
    "XDEL of a dead letter": (lambda redis: delete_entries(redis, DEAD, 1), DEAD),
    "SCRIPT FLUSH": (lambda redis: redis.script_flush(), ""),
}
"""What deletes only a part of a key, with the text by which the log names it; empty if nothing was needed."""

DELETED_KEYS = {
    STREAM: STREAM,
    LANE: LANE,
    REPLAYS: REPLAYS,
    DEAD: DEAD,
    KEYS.counts: KEYS.counts,
}
"""Keys whose loss the log names; the loss of any other one costs no event here (`tests/store/inbox/test_audit.py`)."""

OTHER_KEYS = [
    *(KEYS.inbox, KEYS.quarantine),
    *map(part, ("retries", "tries", "blocked", "attempts", "answers")),
    *(
        KEYS.lanes,
        KEYS.paused,
        KEYS.breakers,
        KEYS.topics,
        KEYS.prepared,
        KEYS.audited,
        KEYS.unmatched,
        KEYS.last_seen,
        KEYS.drift,
    ),
    *(KEYS.seen_prefix + "unread1", KEYS.queue, KEYS.slow_queue, KEYS.replays, KEYS.replays_running, KEYS.memory_probe),
    KEYS.woken(KEYS.queue),
    KEYS.maintenance,
    *(KEYS.chats, KEYS.chats_proved, KEYS.chats_last_writer),
    *(KEYS.ready(wakeups.partition_of("bot")), KEYS.arq("arq:job:", "route")),
    *(
        KEYS.lease(job)
        for job in (wakeups.route(KEYS).job_id, wakeups.deliver(KEYS, wakeups.partition_of("bot")).job_id)
    ),
]
ELSEWHERE = {
    *(KEYS.keyring, KEYS.keyring_revision, KEYS.keyring_lock, KEYS.linq_v2, KEYS.linq_looks, KEYS.refused, KEYS.audit),
    KEYS.audit_teams,
}
"""Keys that concern no event that was accepted."""


async def is_settled(scene: Scene) -> bool:
    await scene.sweeper.sweep()
    await scene.recover()
    ledger = Ledger(scene.redis)
    rows, totals = await ledger.lanes(), await ledger.totals()
    are_all = len(rows) == 2 and all(row.balances and not (row.waiting or row.retrying) for row in rows)
    return are_all and totals.balances and not totals.inbox


def names(logs: Iterable[Mapping[str, object]], text: str) -> bool:
    return any(line["log_level"] == "error" and text in str(line.get("deleted")) for line in logs)


async def check(scene: Scene, delete: Callable[[Redis], Awaitable[object]], text: str) -> LaneLedger:
    """Delete something; each event must be delivered, a dead letter, or counted as lost."""
    with capture_logs() as logs:
        await delete(scene.redis)
        await scene.sweeper.sweep()
        await scene.send("after1", "after2")
        await eventually(lambda: is_settled(scene))
    row, totals = await ledger_of(scene.redis, "bot"), await Ledger(scene.redis).totals()
    letters = [letter async for letter in DeadLetters(scene.redis).of("bot")]
    trimmed = [letter for letter in letters if not letter.record.id]
    missing = scene.sent - scene.delivered.keys() - {"dead1"}
    if text in {STREAM, REPLAYS}:  # a worker sends what it had read, though no record of it is left
        assert len(missing) <= row.lost + len(trimmed), (missing, row, logs)
    else:
        assert len(missing) == row.lost + len(trimmed) - (text == DEAD), (missing, row, logs)
    assert totals.lost == 0
    assert not text or names(logs, text), logs
    return row


@pytest.mark.background
@pytest.mark.parametrize("command", COMMANDS)
async def test_deleted_part_heals_or_is_counted(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink, command: str
) -> None:
    async with scene_of(redis, rules_file, rules, sink) as scene:
        await check(scene, *COMMANDS[command])


@pytest.mark.background
@pytest.mark.parametrize("key", DELETED_KEYS)
async def test_deleted_key_heals_or_is_counted(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink, key: str
) -> None:
    async with scene_of(redis, rules_file, rules, sink) as scene:
        await check(scene, lambda redis: redis.delete(key), DELETED_KEYS[key])


@pytest.mark.background
async def test_other_deleted_keys_cost_no_event(redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink) -> None:
    async def delete_in_turn(redis: Redis) -> None:
        for number, key in enumerate(OTHER_KEYS):
            await redis.delete(key)
            await scene.sweeper.sweep()
            await scene.send(f"later{number}")

    async with scene_of(redis, rules_file, rules, sink) as scene:
        row = await check(scene, delete_in_turn, "")
    assert (row.repeated, row.lost) == (0, 0)


@pytest.mark.background
async def test_emptied_database_is_named_and_starts_anew(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    async with scene_of(redis, rules_file, rules, sink) as scene:
        with capture_logs() as logs:
            await redis.flushdb()
            await scene.sweeper.sweep()
            await scene.send("after1", "after2")
            await eventually(lambda: is_settled(scene))
        row = await ledger_of(redis, "bot")
        assert (row.routed, row.delivered, row.lost) == (2, 2, 0)
        assert {"after1", "after2"} <= scene.delivered.keys()
        assert names(logs, "the whole database"), logs


def test_every_key_is_deleted_here() -> None:
    prefixes = [value for name, value in vars(keys).items() if name.endswith("PREFIX")]
    ours = {
        value
        for name, value in vars(keys).items()
        if name.isupper() and isinstance(value, str) and value not in prefixes
    }
    ours -= {keys.CONSUMER}
    assert ours <= {*DELETED_KEYS, *OTHER_KEYS, *ELSEWHERE}
