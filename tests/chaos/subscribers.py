"""`python -m tests.chaos.subscribers SPEC`: the servers of the push teams and the pull team, in one process.

Every request is verified with the independent `standardwebhooks` library and its body compared with what was sent,
byte for byte. An event counts when its 2xx is written; twice means that the relay pushed it twice.

`<team>.seen` has a byte per event: the number of deliveries so far. On SIGUSR1 every server behaves; SIGTERM ends the
process, after it wrote `subscribers.json`. Switches (`tests.chaos.switches`) change behaviours on the way.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import random
import signal
import sys
import time
from array import array
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from standardwebhooks import Webhook, WebhookVerificationError

from relay.consumer import consume
from relay.process.event_loop import run, stop_on_signals
from relay.process.tasks import in_background
from tests.chaos.behaviours import BEHAVIOURS, Exchange, good
from tests.chaos.events import body_of, number_of, secret_of
from tests.chaos.spec import Spec
from tests.chaos.teams import ORDERED, PULL_GROUP, PULL_TOPIC, TEAMS
from tests.chaos.timeline import Timeline
from tests.chaos.wire import Message, read_message

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.teams import Team

PULLED = "pulled"
_MAX_SEEN = 255
_MAX_KEPT = 100
_MAX_REPEATS = 100_000
_CLAIM_AFTER = 15.0


def seen_file(home: Path, name: str) -> Path:
    """Return the file with the number of deliveries of each event to a team."""
    return home / f"{name}.seen"


class Seen:
    """Events that a team received."""

    def __init__(self, name: str, spec: Spec) -> None:
        self.name = name
        file = seen_file(spec.home, name)
        file.write_bytes(bytes(spec.events))
        with file.open("r+b") as opened:
            self.times = mmap.mmap(opened.fileno(), spec.events)
        self.timeline = Timeline()
        self.repeats: list[tuple[int, float, float]] = []
        self._began = time.monotonic()
        self._first = array("f", bytes(4 * spec.events))  # seconds since the start; doubles would be twice as large
        self.wrong: list[str] = []
        self.firsts: list[tuple[int, float]] = []  # of the team whose events have an order

    def count(self, event: str, body: bytes, *, once: bool = False) -> None:
        """Record an event; with `once`, a repeat is none."""
        number = number_of(event)
        if number is None or number >= len(self.times):
            self.record_error(f"{event} was never sent")
            return
        if body != body_of(number):
            self.record_error(f"{event} has another body: {body[:200]!r}")
        now = time.monotonic()
        if once and self.times[number]:
            return
        if not self.times[number]:
            self.timeline.record("got", now)
            self._first[number] = now - self._began
            if self.name == ORDERED:
                self.firsts.append((number, now))
        elif len(self.repeats) < _MAX_REPEATS:
            self.repeats.append((number, self._began + self._first[number], now))
        self.times[number] = min(self.times[number] + 1, _MAX_SEEN)

    def record_error(self, wrong: str) -> None:
        """Record an error, up to a limit."""
        if len(self.wrong) < _MAX_KEPT:
            self.wrong.append(wrong)


class PushTeam:
    """Server of a push team."""

    def __init__(self, team: Team, seen: Seen, dice: random.Random, home: Path) -> None:
        self._team = team
        self._seen = seen
        self._dice = dice
        self._home = home
        self._webhook = Webhook(secret_of(team.name).text)
        self.behaviour = BEHAVIOURS[team.name]

    async def receive(self, message: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Verify a request and respond."""
        try:
            self._webhook.verify(message.body, message.headers)
        except WebhookVerificationError as error:
            self._seen.record_error(f"{message.headers.get('webhook-id')}: {error}")
        event = message.headers.get("webhook-id", "")
        if self._team.counts_requests:
            self._seen.count(event, message.body, once=True)
        if await self.behaviour(Exchange(reader, writer, self._dice, self._home)) and not self._team.counts_requests:
            self._seen.count(event, message.body)


async def _serve(teams: dict[str, PushTeam], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, EOFError):
        while not writer.transport.is_closing():
            message = await read_message(reader)
            await teams[message.path.removeprefix("/")].receive(message, reader, writer)
            await writer.drain()
    writer.transport.abort()


async def _pull(url: str, seen: Seen) -> None:
    async with consume(url, topic=PULL_TOPIC, group=PULL_GROUP, claim_after=_CLAIM_AFTER) as events:
        async for event in events:
            seen.count(event.id, event.body)


def _behave(teams: dict[str, PushTeam]) -> None:
    for team in teams.values():
        team.behaviour = good


def _report(home: Path, everything: list[Seen], broken: str | None) -> None:
    report = {
        seen.name: {
            "timeline": seen.timeline.encode(),
            "repeats": seen.repeats,
            "wrong": seen.wrong,
            "firsts": seen.firsts,
        }
        for seen in everything
    }
    (home / "subscribers.json").write_text(json.dumps({"teams": report, "consumer_broke": broken}))


async def main(spec: Spec) -> None:
    """Serve until SIGTERM."""
    stop = stop_on_signals()
    everything = [Seen(team.name, spec) for team in TEAMS]
    teams = {
        team.name: PushTeam(team, seen, random.Random(f"{spec.seed} {team.name}"), spec.home)
        for team, seen in zip(TEAMS, everything, strict=True)
    }
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _behave, teams)
    pulled = Seen(PULLED, spec)
    addresses = sorted({"127.0.0.1", spec.address})
    server = await asyncio.start_server(partial(_serve, teams), addresses, spec.teams_port)
    async with server, in_background(_pull(spec.redis_url, pulled)) as pulling:
        await stop.wait()
        broken = repr(pulling.exception()) if pulling.done() else None
        _report(spec.home, [*everything, pulled], broken)


if __name__ == "__main__":
    run(main(Spec.read(sys.argv[1])))
