"""Members of a group: processes of a sample, what they print, and the relay that feeds their topic."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.config.file import ConfigFile
from relay.core.event import Dialect, VerifiedWebhook
from relay.process.subprocesses import death_with_parent
from tests.building import LINE, body_of
from tests.redis_server import RedisServer
from tests.support import KEYS, TIMEOUT, eventually
from tests.workers.conftest import accept, emptied, routing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.samples.languages import Language

TOPIC, GROUP = "support", "billing"
STREAM, PLACES, DEAD = KEYS.topic(TOPIC), f"{KEYS.topic(TOPIC)}:places", f"relay:dead:{TOPIC}:{GROUP}"
RULES = f"""
[[topics]]
name = "{TOPIC}"
events = ["*"]
"""


class Begun(NamedTuple):
    """An event whose handler was called."""

    id: str
    entry: str
    deliveries: int
    at: float
    """Monotonic seconds."""


@dataclass(slots=True)
class Member:
    """A process that reads the topic."""

    process: asyncio.subprocess.Process
    begun: list[Begun] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    said: str = ""
    """The output for people."""

    @property
    def ids(self) -> list[str]:
        """The ids of the events whose handlers were called."""
        return [event.id for event in self.begun]

    async def read_output(self) -> None:
        """Read lines until the process ends."""
        assert self.process.stdout is not None
        async for text in self.process.stdout:
            line: dict[str, Any] = json.loads(text)
            if "done" in line:
                self.done.append(line["done"])
            else:
                self.begun.append(Begun(line["id"], line["entry"], line["deliveries"], time.monotonic()))

    async def read_errors(self) -> None:
        """Read the output for people until the process ends."""
        assert self.process.stderr is not None
        async for text in self.process.stderr:
            self.said += text.decode()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end, and return the exit code."""
        async with asyncio.timeout(TIMEOUT):
            return await self.process.wait()


@dataclass(slots=True, kw_only=True)
class Crew:
    """The members of a group."""

    url: str
    """Value for REDIS_URL."""
    language: Language
    release: Path
    """Handlers of events in a chat `hold` return when this file exists."""
    members: list[Member] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, member: str, claim_after: float = 60, **environment: str) -> Member:
        """Start a member."""
        given = {"TOPIC": TOPIC, "GROUP": GROUP, "MEMBER": member, "CLAIM_AFTER": str(claim_after)}
        given |= {"REDIS_URL": self.url, "RELEASE": str(self.release)}
        process = await asyncio.create_subprocess_exec(
            *self.language.run,
            cwd=self.language.built(),
            env={**os.environ, **given, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=death_with_parent(),
        )
        started = Member(process)
        self.members.append(started)
        self.tasks |= {asyncio.create_task(started.read_output()), asyncio.create_task(started.read_errors())}
        return started

    async def end(self) -> None:
        """Kill what still runs, and read the output to its end."""
        for member in self.members:
            member.signal(signal.SIGKILL)
            await member.process.wait()
        await asyncio.gather(*self.tasks)


@dataclass(slots=True, kw_only=True)
class Stage(Crew):
    """A relay with one topic, and the members that read it."""

    server: RedisServer
    redis: Redis

    async def feed(self, *chats: str) -> list[str]:
        """Have the relay accept and route an event in each of these chats; return their ids."""
        webhooks = [webhook_in(chat) for chat in chats]
        await accept(self.redis, *webhooks)
        await eventually(lambda: emptied(self.redis))
        return [webhook.id for webhook in webhooks]

    async def is_idle(self) -> bool:
        """Return True if the group has read and acknowledged all."""
        [group] = await self.redis.xinfo_groups(STREAM)
        return not (group["pending"] or group["lag"])

    async def is_waiting(self) -> bool:
        """Return True if a member waits for new events."""
        clients: list[dict[str, str]] = await self.redis.client_list()
        return any(client["cmd"] == "xreadgroup" and "b" in client["flags"] for client in clients)

    async def consumers(self) -> dict[str, int]:
        """Return the group's consumers, and the number of events that each has."""
        rows = await self.redis.xinfo_consumers(STREAM, GROUP)
        return {row["name"].decode(): row["pending"] for row in rows}

    async def place(self) -> str | None:
        """Return the place at which the group is made again if it is lost."""
        value: bytes | None = await self.redis.hget(PLACES, GROUP)  # type: ignore[misc]  # typed for redis-py's blocking client as well
        return None if value is None else value.decode()

    async def dead(self) -> list[dict[str, str]]:
        """Return the dead letters."""
        rows = await self.redis.xrange(DEAD)
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]


@asynccontextmanager
async def open_stage(directory: Path, language: Language) -> AsyncIterator[Stage]:
    """Run Redis and the relay's router; end what runs of it and of the members afterwards."""
    rules_file = directory / "relay.toml"
    rules_file.write_text(RULES)
    server = RedisServer(directory / "redis")
    await server.start()
    try:
        async with server.client() as redis, ConfigFile(rules_file) as rules, routing(redis, rules):
            release = directory / "release"
            stage = Stage(url=server.url, language=language, release=release, server=server, redis=redis)
            await eventually(lambda: redis.exists(KEYS.topics))
            try:
                yield stage
            finally:
                await stage.end()
    finally:
        await server.kill()


def webhook_in(chat: str) -> VerifiedWebhook:
    """Return a new event of a chat."""
    body = body_of(chat_id=chat)
    event_id = json.loads(body)["event_id"]
    return VerifiedWebhook(
        id=event_id,
        type="message.received",
        dialect=Dialect.V3,
        webhook_id=event_id,
        line=LINE,
        body=body,
    )
