"""A soak: Redis, the real router, groups in several languages; then all comes to rest, and records are gathered."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from relay.config.settings import Settings
from relay.core.errors import StoreUnavailable
from relay.core.event import Dialect, VerifiedWebhook
from relay.core.secret import new_key
from relay.process.subprocesses import death_with_parent, python
from relay.store.inbox.acceptor import Acceptor
from tests.chaos.events import LINES, event_id, line_of, number_of
from tests.redis_server import RedisServer
from tests.soak.group import Group
from tests.soak.options import STREAM, TOPIC, Options, Treatment
from tests.soak.programs import PROGRAMS
from tests.soak.records import DeadLetter, GroupRecord, Records
from tests.soak.topic import Topic
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.store.driver.client import Redis

    Announce = Callable[[str], None]

_RULES = f'[[topics]]\nname = "{TOPIC}"\nevents = ["*"]\nsize = "16GiB"\nhard_size = "16GiB"\n'
_START_TIMEOUT = 60.0
_IN_A_ROW, _CHATS = 3, 40
_SEND_AGAIN = 1.0  # seconds
_BURST = 0.5  # seconds of traffic that come at once
_TRIM_EVERY, _KEEP = 5.0, 2.0  # seconds
_SPECIALS = 60.0
"""Seconds between two pauses or deletions, at most: each group has at least one of both."""
_PAGE = 1000
_DEAD_FIELDS = {b"dead_at", b"dead_reason", b"dead_error", b"dead_entry", b"dead_deliveries", b"dead_member"}
_EVENT_FIELDS = {b"id", b"type", b"at", b"body"}


async def run_soak(options: Options, announce: Announce) -> Records:
    """Run it and return its records."""
    commands = {language: await asyncio.to_thread(PROGRAMS[language].prepare) for language in options.languages}
    server = RedisServer(options.directory / "redis", "everysec")
    try:
        await server.start()
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(server.client())
            await stack.enter_async_context(_worker(options, server.url))
            records = {language: GroupRecord(language) for language in options.languages}
            topic = Topic(redis, records)
            groups = [
                Group(language, commands[language], options, redis, topic, record)
                for language, record in records.items()
            ]
            try:
                return await _run(options, server.url, redis, topic, groups, announce)
            finally:
                await asyncio.gather(*(group.kill_all() for group in groups))
    finally:
        await server.kill_all()


async def _run(
    options: Options, url: str, redis: Redis, topic: Topic, groups: list[Group], announce: Announce
) -> Records:
    began = time.monotonic()
    async with Acceptor(redis, 3600, time.time) as acceptor:
        await acceptor.accept(_webhook(0))  # the router makes the topic's stream with the first event
        await eventually(lambda: redis.exists(STREAM), _START_TIMEOUT)
        await asyncio.gather(*(group.start(url) for group in groups))
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for position, group in enumerate(groups):
                tasks.create_task(group.disturb(random.Random(f"{options.seed} {position}"), is_over))
            specials = tasks.create_task(_specials(options, topic, groups, announce))
            await _feed(options, acceptor, announce)
            await specials
            is_over.set()
    announce("traffic has ended; no member is killed from now on")
    await eventually(lambda: _is_routed(redis), 120)
    await topic.read()
    await _rest(options, groups)
    announce("everything is at rest" if not any(group.record.unfinished for group in groups) else "not at rest")
    await asyncio.gather(*(group.close() for group in groups))
    for group in groups:
        group.record.dead = await _dead_letters(redis, group.name)
        _read_log(options, group.record)
    poison = {Treatment.FAIL, Treatment.CRASH}
    return Records(
        claim_after=options.claim_after,
        max_deliveries=options.max_deliveries,
        poison=frozenset(number for number in topic.routed if options.treatment_of(number) in poison),
        routed=topic.routed,
        chats=topic.chats,
        groups={group.name: group.record for group in groups},
        accepted=options.events,
        repeated_in_topic=topic.repeated,
        removed=topic.removed,
        needed_by_safe_trims=topic.needed,
        seconds=time.monotonic() - began,
    )


def _webhook(number: int) -> VerifiedWebhook:
    name, line = event_id(number), LINES[line_of(number)]
    return VerifiedWebhook(
        id=name, type="message.received", dialect=Dialect.V3, webhook_id=name, line=line, body=_body_of(number)
    )


def _body_of(number: int) -> bytes:
    """Return a body: a few events of a chat follow each other, and it soon has more."""
    envelope = {
        "api_version": "v3",
        "webhook_version": "2026-02-03",
        "event_type": "message.received",
        "event_id": event_id(number),
        "created_at": "2026-09-14T09:15:02.417203911Z",
        "data": {"chat_id": f"chat-{number // _IN_A_ROW % _CHATS}"},
    }
    return json.dumps(envelope).encode()


async def _feed(options: Options, acceptor: Acceptor, announce: Announce) -> None:
    """Accept every event but the first, in bursts, so that members have something in hand when they are killed."""
    loop = asyncio.get_running_loop()
    began, burst = loop.time(), max(1, round(options.rate * _BURST))
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, options.events):
            if (early := began + (number - number % burst) / options.rate - loop.time()) > 0:
                await asyncio.sleep(early)
            tasks.create_task(_accept(acceptor, _webhook(number)))
            if number % 10_000 == 0:
                announce(f"{loop.time() - began:6.0f} s  {number} events")


async def _accept(acceptor: Acceptor, webhook: VerifiedWebhook) -> None:
    """Accept an event; send it again while the relay refuses it for now, as Linq does."""
    while True:
        try:
            await acceptor.accept(webhook)
        except StoreUnavailable:
            await asyncio.sleep(_SEND_AGAIN)
        else:
            return


async def _specials(options: Options, topic: Topic, groups: list[Group], announce: Announce) -> None:
    """Trim ahead of each group and delete each, spread over the traffic; meanwhile, trim what no group needs."""
    dice = random.Random(f"{options.seed} specials")
    rounds = max(1, round(options.seconds / (2 * len(groups) * _SPECIALS)))
    steps = []
    for _ in range(rounds):
        one_round = [(kind, group) for group in groups for kind in ("pause", "delete")]
        dice.shuffle(one_round)
        steps += one_round
    gap = options.seconds / (len(steps) + 1)
    following = time.monotonic()
    for kind, group in steps:
        following += gap
        while (left := following - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _TRIM_EVERY))
            await topic.trim(_KEEP)
        before = len(group.record.trimmed)
        if kind == "pause":
            await group.pause(min(dice.uniform(1, 3), options.claim_after / 3))
        else:
            await group.delete()
        announce(f"{kind} {group.name}: {len(group.record.trimmed) - before} events trimmed ahead of it")


async def _is_routed(redis: Redis) -> bool:
    return not int(await redis.xlen(KEYS.inbox))


async def _rest(options: Options, groups: list[Group]) -> None:
    """Wait until no group has anything left, or until nothing moves any more."""
    standstill = options.claim_after * (options.max_deliveries + 2) + options.slow_seconds + 30
    former: dict[str, tuple[int, int]] = {}
    moved_at = time.monotonic()
    while time.monotonic() - moved_at < standstill:
        owed = {group.name: await group.owed() for group in groups}
        if not any(map(any, owed.values())):
            return
        if owed != former:
            former, moved_at = owed, time.monotonic()
        await asyncio.sleep(0.2)
    for group in groups:
        if any(former[group.name]):
            group.record.unfinished = "{} pending and {} unread events".format(*former[group.name])


async def _dead_letters(redis: Redis, group: str) -> list[DeadLetter]:
    rows = await redis.xrange(f"relay:dead:{TOPIC}:{group}", "-", "+")
    return [
        DeadLetter(
            number_of(fields[b"id"].decode()) or 0,
            fields.get(b"dead_reason", b"").decode(),
            int(fields.get(b"dead_deliveries", 0)),
            set(fields) >= _DEAD_FIELDS | _EVENT_FIELDS,
        )
        for _, fields in rows
    ]


def _read_log(options: Options, record: GroupRecord) -> None:
    """Count what the members told."""
    says = PROGRAMS[record.language].says
    with (options.directory / f"{record.language}.log").open(errors="replace") as log:
        for line in log:
            for what, pattern in says.items():
                if found := pattern.search(line):
                    record.told[what] += int(found[1]) if found.groups() else 1


@asynccontextmanager
async def _worker(options: Options, url: str) -> AsyncIterator[None]:
    """Run the relay's worker, which routes."""
    rules = options.directory / "relay.toml"
    rules.write_text(_RULES)
    environment = {
        **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
        "REDIS_URL": url,
        "RELAY_CONFIG": str(rules),
        "RELAY_SECRET_KEY": new_key(),
        "RELAY_ADMIN_LISTEN": "127.0.0.1:0",
    }
    with (options.directory / "worker.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *python("relay", "worker"),
            env=environment,
            cwd=options.directory,
            stdout=log,
            stderr=log,
            preexec_fn=death_with_parent(),
        )
    try:
        yield
        if process.returncode is not None:
            raise RuntimeError(f"the worker ended with {process.returncode}; see {options.directory}/worker.log")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
