"""Read the results of a run: the helpers' reports, the streams in Redis, the ledger, the logs."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from relay.process.subprocesses import python
from relay.store import keys
from tests.chaos.events import body_of, number_of, shard_of_event
from tests.chaos.linq import ACCEPTED
from tests.chaos.records import FaultRecord, First, Records, Repeat, TeamRecord, TopicRecord
from tests.chaos.service_process import MAX_STEP
from tests.chaos.subscribers import PULLED, seen_file
from tests.chaos.teams import PULL_GROUP, PULL_TOPIC, TEAMS, TOPICS
from tests.chaos.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.chaos.spec import Spec
    from tests.chaos.stage import Stage

_PAGE = 1000
_POLL_INTERVAL = 0.5  # seconds
_STANDSTILL = 120.0 + MAX_STEP
"""Seconds without progress after which work counts as stuck: twice the longest wait of a breaker, and as long as a
clock may have been ahead when the end of the wait was written.
"""
_MAX_KEPT = 100
_TRACEBACK = "Traceback (most recent call last)"


class Owed(NamedTuple):
    """Work that a group has yet to do."""

    entries: int
    """Entries that it has not acknowledged; beyond a page of unread ones, a lower bound."""
    position: str = ""
    """Id of the last entry that it read."""


class Place(NamedTuple):
    """A shard among all."""

    shard: int
    shards: int


async def rest(stage: Stage) -> str:
    """Wait until all work is finished; return the unfinished work if there is no more progress."""
    loop = asyncio.get_running_loop()
    former: dict[str, Owed] = {}
    moved_at = loop.time()
    async with stage.client() as redis:
        while (unfinished := await _unfinished(redis, stage)) and loop.time() - moved_at < _STANDSTILL:
            if unfinished != former:
                former, moved_at = unfinished, loop.time()
            await asyncio.sleep(_POLL_INTERVAL)
    return ", ".join(f"{what}: {left.entries}" for what, left in unfinished.items())


async def _unfinished(redis: Redis, stage: Stage) -> dict[str, Owed]:
    found = {"inbox": Owed(sum([await shard.xlen(shard.key.inbox) for shard in redis.shards]))}
    for team in TEAMS:
        found[team.name] = await owed_to(redis, team.topic, keys.push_group(team.name))
    found[PULL_GROUP] = await owed_to(redis, PULL_TOPIC, PULL_GROUP)
    unfinished = {what: left for what, left in found.items() if left.entries}
    return unfinished or {f"missing at {name}": Owed(count) for name, count in (await _missing(stage)).items()}


async def _missing(stage: Stage) -> dict[str, int]:
    """Count what the teams have yet to get according to the sender: the relay may still find what Redis has lost."""
    states = (stage.spec.home / "linq.state").read_bytes()
    accepted = [number for number, state in enumerate(states) if state == ACCEPTED]
    dead = await read_dead(stage)
    missing = {}
    for team in TEAMS:
        times, given_up = seen_file(stage.spec.home, team.name).read_bytes(), set(dead[team.name])
        owed_to_team = (n for n in accepted if not times[n] and team.wants(n) and n not in given_up)
        missing[team.name] = sum(1 for _ in owed_to_team)
    return {name: count for name, count in missing.items() if count}


async def owed_to(redis: Redis, topic: str, group: str) -> Owed:
    """Count what the group has not acknowledged of a topic, on all shards; `redis` is the client of the first."""
    found = [await owed(shard, shard.key.topic(topic), group) for shard in redis.shards]
    return Owed(sum(each.entries for each in found), " ".join(each.position for each in found))


async def owed(redis: Redis, stream: str, group: str, page: int = _PAGE) -> Owed:
    """Count what the group has not acknowledged: pending entries, and those after the last that it read, up to `page`.

    The server's own estimates (`lag`, `entries-read`) are not used: Redis 7.0 restores old ones from a rewritten
    append-only file.
    """
    try:
        rows = [row for row in await redis.xinfo_groups(stream) if row["name"] == group.encode()]
    except ResponseError:  # no event of the topic was routed yet
        return Owed(0)
    pending, position = (rows[0]["pending"], rows[0]["last-delivered-id"].decode()) if rows else (0, "0-0")
    unread = await redis.xrange(stream, f"({position}", "+", count=page)
    return Owed(pending + len(unread), position)


async def read_ledger(stage: Stage) -> dict[str, Any]:
    """Return the output of `relay ledger --json`, with its exit code as `code`."""
    process = await asyncio.create_subprocess_exec(
        *python("relay", "ledger", "--json"),
        env={**stage.redis_environment, "PATH": ""},
        cwd=stage.spec.home,
        stdout=asyncio.subprocess.PIPE,
        stderr=sys.stderr,
    )
    output, _ = await process.communicate()
    said: dict[str, Any] = json.loads(output) if output else {}
    return {**said, "code": process.returncode}


async def read_topics(stage: Stage) -> dict[str, TopicRecord]:
    """Read every topic's streams, one on each shard, and compare them with what was sent."""
    found = {}
    async with stage.client() as redis:
        for topic in TOPICS:
            record = found[topic] = TopicRecord(bytearray(stage.spec.events))
            for number, shard in enumerate(redis.shards):
                place = Place(number, len(redis.shards))
                async for entry, fields in _entries(shard, shard.key.topic(topic)):
                    _record_entry(record, entry, fields, place)
    return found


async def read_dead(stage: Stage) -> dict[str, list[int]]:
    """Read the dead letters of every team: the numbers of their events."""
    found = {}
    async with stage.client() as redis:
        for team in TEAMS:
            numbers: list[int | None] = []
            for shard in redis.shards:
                rows = _entries(shard, shard.key.lane(team.name, "dead"))
                numbers += [number_of(fields[b"id"].decode()) async for _, fields in rows]
            found[team.name] = [number for number in numbers if number is not None]
    return found


def read_reports(spec: Spec, dead: dict[str, list[int]]) -> tuple[dict[str, TeamRecord], TeamRecord, list[str]]:
    """Read the records of the push teams and the pull team, and the errors of their process."""
    report = json.loads((spec.home / "subscribers.json").read_text())

    def team_record(name: str) -> TeamRecord:
        team = report["teams"][name]
        return TeamRecord(
            times=seen_file(spec.home, name).read_bytes(),
            timeline=Timeline.decode(team["timeline"]),
            repeats=[Repeat(*repeat) for repeat in team["repeats"]],
            dead=frozenset(dead.get(name, ())),
            dead_letters=len(dead.get(name, ())),
            wrong=team["wrong"],
            firsts=[First(*first) for first in team["firsts"]],
        )

    broke = report["consumer_broke"]
    return (
        {team.name: team_record(team.name) for team in TEAMS},
        team_record(PULLED),
        [f"the consumer failed: {broke}"] if broke else [],
    )


def read_logs(home: Path) -> list[str]:
    """Return the first hundred log lines that show a bug, with the name of the log."""
    found: list[str] = []
    for path in sorted(home.glob("*.log")):
        with path.open(errors="replace") as log:
            found += [f"{path.name}: {line.strip()[:2000]}" for line in log if _TRACEBACK in line]
    return found[:_MAX_KEPT]


async def gather(stage: Stage, unfinished: str, ledger: dict[str, Any], faults: list[FaultRecord]) -> Records:
    """Gather all records, once the helpers have reported and while Redis still runs."""
    spec = stage.spec
    sender = json.loads((spec.home / "linq.json").read_text())
    teams, pulled, broke = read_reports(spec, await read_dead(stage))
    return Records(
        states=(spec.home / "linq.state").read_bytes(),
        linq=Timeline.decode(sender["timeline"]),
        refused=sender["refused"],
        topics=await read_topics(stage),
        teams=teams,
        pulled=pulled,
        ledger=ledger,
        deaths=[*stage.deaths, *broke],
        log_errors=read_logs(spec.home),
        unfinished=unfinished,
        faults=faults,
        watches=stage.watches,
        evidence=stage.evidence,
        shards=spec.shards,
    )


def _record_entry(record: TopicRecord, entry: bytes, fields: dict[bytes, bytes], place: Place) -> None:
    event = fields[b"id"].decode()
    number = number_of(event)
    if number is None or number >= len(record.times):
        record.wrong.append(f"{event} ({entry.decode()}) was never sent")
        return
    record.times[number] += 1
    record.order.append(number)
    if (shard := shard_of_event(number, place.shards)) != place.shard:
        record.wrong.append(f"{event} ({entry.decode()}) is on shard {place.shard}, not {shard}")
    if fields[b"body"] != body_of(number):
        record.wrong.append(f"{event} ({entry.decode()}) has another body")


async def _entries(redis: Redis, stream: str) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
    start = "-"
    try:
        while rows := await redis.xrange(stream, start, "+", count=_PAGE):
            for entry, fields in rows:
                yield entry, fields
            start = f"({rows[-1][0].decode()}"
    except ResponseError as error:
        raise RuntimeError(f"{stream}: {error}") from error
