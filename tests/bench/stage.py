"""Stage of a measurement: its own Redis (append-only file, everysec), rules, and the services that are measured on it.

Every measurement has a new stage, so that none inherits another's data, memory or append-only file.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from arq.connections import ArqRedis
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.config.relay_toml import parse_config
from relay.core.errors import StoreUnavailable
from relay.core.event import Dialect, VerifiedWebhook
from relay.core.secret import new_key
from relay.linq.payloads.decode import decode
from relay.parts import open_keyring
from relay.process.subprocesses import reserved_port
from relay.store.driver.client import ask
from relay.store.lanes.lane import Lane
from relay.store.ledger.ledger import LaneLedger, Ledger, Totals
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import open_shards
from relay.store.topics.record import fields_of
from tests.accepting import accepting
from tests.bench.events import SIZE, event_body, line_of
from tests.bench.processes import Program, answers, cpu_of, output_of, program
from tests.bench.redis_servers import ONE, Setup, redis_servers
from tests.building import LINE, SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from relay.store.driver.client import Redis
    from relay.store.inbox.sharded_acceptor import ShardedAcceptor

_CHUNK = 2000  # events a batch
_ID = "@id@"
_FILL = """
for number = ARGV[3], ARGV[4] do
    local fields, id = {}, ARGV[2] .. '-' .. string.format('%d', number)
    for at = 5, #ARGV do
        fields[at - 4] = string.gsub(ARGV[at], ARGV[1], id)
    end
    redis.call('XADD', KEYS[1], '*', unpack(fields))
end
"""
"""Adds events to a stream. ARGV: a text that stands for their id, prefix of ids, first and last number, fields."""
_POLL_INTERVAL = 0.01
_REST = 120.0  # seconds
_REDIS_TIMEOUT = 60.0  # seconds


def topics_by_line(count: int) -> str:
    """Return rules with `count` topics: one for everything, one for each of `count - 1` lines; an event matches two."""
    rules = '[[topics]]\nname = "everything"\nevents = ["*"]\n'
    return rules + "".join(
        f'[[topics]]\nname = "line-{number}"\nevents = ["message.*"]\nlines = ["{line_of(number)}"]\n'
        for number in range(count - 1)
    )


def pushed_to(*urls: str, options: str = "") -> str:
    """Return rules with a topic for everything and a subscription to it, with `options`, for each URL."""
    return topics_by_line(1) + "".join(
        f'[[subscriptions]]\nname = "team-{number}"\ntopic = "everything"\nurl = "{url}"\n'
        f'secret = "{SECRET.text}"\n{options}\n'
        for number, url in enumerate(urls)
    )


@dataclass(slots=True)
class Stage:
    """Surroundings of one measurement."""

    directory: Path
    url: str
    """Value for REDIS_URL."""
    redis_pids: tuple[int, ...]
    redis: Redis
    """The client of the first shard, which knows the others."""
    port: int
    """Port of the ingress."""
    key: str = field(default_factory=new_key)

    @property
    def rules_file(self) -> Path:
        return self.directory / "relay.toml"

    def environment(self, log_level: str = "warning") -> dict[str, str]:
        """Return the environment of the relay's processes."""
        count = len(self.redis.shards)
        shards = {"RELAY_SHARDS": str(count)} if count > 1 else {}
        return {
            **shards,
            "REDIS_URL": self.url,
            "RELAY_LISTEN": f"127.0.0.1:{self.port}",
            "RELAY_ADMIN_LISTEN": "127.0.0.1:0",
            "RELAY_CONFIG": str(self.rules_file),
            "RELAY_SECRET_KEY": self.key,
            "RELAY_LOG_LEVEL": log_level,
            "RELAY_LOG_FORMAT": "json",
            "RELAY_REVISION": "measured",  # as in an installed relay, which does not ask git
        }

    @asynccontextmanager
    async def ingress(self, processes: int = 1, log_level: str = "warning") -> AsyncIterator[Program]:
        """Run an ingress of the relay, with the secret of one line in its keyring."""
        settings = Settings(redis_url=self.url, relay_secret_key=SecretStr(self.key))
        await open_keyring(settings, self.redis).store(LINE, 1, "bench", SECRET, time.time())
        arguments = ("relay", "ingress", "--processes", str(processes))
        environment = self.environment(log_level)
        log = None if log_level == "warning" else self.directory / "ingress.log"
        async with program(*arguments, ready=answers(self.port, "/ready"), environment=environment, log=log) as running:
            yield running

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Program]:
        """Run a worker of the relay, once arq has started it."""

        async def ready() -> object:
            return await self.redis.exists(f"{self.redis.key.queue}:health-check")

        async with program("relay", "worker", ready=ready, environment=self.environment()) as running:
            yield running

    def diy_ingress(self, processes: int = 1) -> AbstractAsyncContextManager[Program]:
        """Run the ingress of the DIY service."""
        options = f"--port {self.port} --workers {processes} --loop uvloop --http httptools --log-level warning"
        return program(
            *("uvicorn", "tests.bench.diy.app:app", "--no-access-log", *options.split()),
            ready=answers(self.port, "/ready"),
            environment={"DIY_REDIS_URL": self.url, "DIY_SECRET": SECRET.text},
        )

    @asynccontextmanager
    async def diy_worker(self, target: str = "") -> AsyncIterator[Program]:
        """Run the worker of the DIY service; without a `target` its jobs only route."""

        async def ready() -> object:
            return await self.redis.exists("arq:queue:health-check")

        environment = {"DIY_REDIS_URL": self.url, "DIY_TARGET": target}
        async with program("tests.bench.diy.worker", ready=ready, environment=environment) as running:
            yield running

    def redis_cpu(self) -> float:
        """Return the CPU seconds of Redis so far."""
        return sum(self.redis_cpus())

    def redis_cpus(self) -> list[float]:
        """Return the CPU seconds of each server so far."""
        return [cpu_of(pid) for pid in self.redis_pids]

    async def accept(self, count: int, lines: int = 1, prefix: str = "e", size: int = SIZE) -> None:
        """Accept events with bodies of `size` bytes into the inbox, as the ingress does, spread over `lines` lines."""
        async with accepting(self.redis.shards) as acceptor:
            for start in range(0, count, _CHUNK):
                numbers = range(start, min(start + _CHUNK, count))
                webhooks = (webhook(f"{prefix}-{number}", line_of(number % lines), size) for number in numbers)
                await asyncio.gather(*(_accepted(acceptor, webhook) for webhook in webhooks))

    async def fill_topic(self, count: int, prefix: str = "e") -> None:
        """Add events to the topic for everything, after creating the lanes of the rules."""
        for subscription in parse_config(self.rules_file.read_text()).subscriptions:
            for shard in self.redis.shards:
                await Lane(shard, subscription.name, subscription.topic).ensure()
                await ask(shard.sadd(shard.key.lanes, subscription.name))
        fields = [part for pair in _record(webhook(_ID, LINE)).items() for part in pair]
        shards = len(self.redis.shards)
        for number, shard in enumerate(self.redis.shards):
            end, stream = (number + 1) * count // shards, shard.key.topic("everything")
            for start in range(number * count // shards, end, _CHUNK):
                last = min(start + _CHUNK, end) - 1
                await ask(shard.eval(_FILL, 1, stream, _ID, prefix, str(start), str(last), *fields))

    async def at_rest(self) -> None:
        """Wait until Redis has rewritten its append-only file and the disk has it."""

        async def rewriting() -> int:
            infos = [await shard.info("persistence") for shard in self.redis.shards]
            return sum(int(info["aof_rewrite_in_progress"]) + int(info["aof_rewrite_scheduled"]) for info in infos)

        await finished(rewriting, _REST)
        await asyncio.to_thread(os.sync)

    async def enqueue(self, count: int) -> None:
        """Enqueue jobs in arq's queue, as the DIY ingress does."""
        async with ArqRedis.from_url(self.url) as arq:
            for start in range(0, count, 50):
                numbers = range(start, min(start + 50, count))
                await asyncio.gather(
                    *(
                        arq.enqueue_job("deliver", f"e-{number}", "message.received", event_body(f"e-{number}"))
                        for number in numbers
                    )
                )

    async def totals(self) -> Totals:
        """Return the ledger's totals, which must balance."""
        totals = await Ledger(self.redis).totals()
        if not totals.balances:
            raise RuntimeError(f"the ledger does not balance: {totals}")
        return totals

    async def lanes(self) -> list[LaneLedger]:
        """Return the lanes' ledgers, which must balance."""
        lanes = await Ledger(self.redis).lanes()
        if wrong := [lane for lane in lanes if not lane.balances]:
            raise RuntimeError(f"the ledger does not balance: {wrong}")
        return lanes

    async def routed(self) -> int:
        """Return the number of routed events."""
        return sum([int(await ask(shard.hget(shard.key.counts, "routed")) or 0) for shard in self.redis.shards])

    async def delivered(self) -> int:
        """Return the number of deliveries over all lanes."""
        delivered = 0
        for shard in self.redis.shards:
            lanes = await ask(shard.smembers(shard.key.lanes))
            async with shard.pipeline(transaction=False) as pipe:
                for lane in lanes:
                    pipe.hget(shard.key.lane(lane.decode()), "delivered")
                delivered += sum(int(count or 0) for count in await pipe.execute())
        return delivered


async def _accepted(acceptor: ShardedAcceptor, webhook: VerifiedWebhook) -> None:
    """Have it accepted, as Linq does: again after a refusal, which a busy machine causes."""
    while True:
        with suppress(StoreUnavailable):
            await acceptor.accept(webhook)
            return


def webhook(event_id: str, line: str, size: int = SIZE) -> VerifiedWebhook:
    """Return the webhook that the ingress would accept."""
    body = event_body(event_id, size, line=line)
    return VerifiedWebhook(event_id, "message.received", Dialect.V3, event_id, line, body)


def _record(verified: VerifiedWebhook) -> Any:
    event = decode(verified.dialect, verified.body, verified.line).event
    fields = fields_of(event, round(time.time() * 1000), verified.webhook_id, verified.body)
    return dict(zip(fields[::2], fields[1::2], strict=True))


@asynccontextmanager
async def new_stage(rules: str = "", setup: Setup = ONE) -> AsyncIterator[Stage]:
    """Open a stage with these rules and servers."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name, reserved_port() as port:
        directory = Path(name)
        async with (
            redis_servers(directory / "redis", setup) as servers,
            open_shards(servers.url, _REDIS_TIMEOUT, count=setup.shards) as shards,
        ):
            if setup.shards > 1:  # what is filled in beforehand would be that of one shard
                await require_number_of_shards(shards.home)
            stage = Stage(directory, servers.url, servers.pids, shards.home, port)
            stage.rules_file.write_text(rules or topics_by_line(1))
            yield stage


@asynccontextmanager
async def serving(kind: str) -> AsyncIterator[tuple[int, Program]]:
    """Run a process of `tests.bench.servers`; yield its port and the process."""
    with reserved_port() as port:
        async with program("tests.bench.servers", kind, str(port), ready=answers(port, "/")) as running:
            yield port, running


@asynccontextmanager
async def sink() -> AsyncIterator[int]:
    """Run a sink; yield its port."""
    async with serving("protocol") as (port, _):
        yield port


async def stats_of(port: int) -> dict[str, Any]:
    """Return the requests that a sink got since the last call."""
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}/stats") as response:
        found: dict[str, Any] = await response.json(content_type=None)
        return found


async def finished(pending: Any, timeout: float, interval: float = _POLL_INTERVAL) -> float:
    """Wait until `pending`, a coroutine function, returns 0; return the time of that in Unix seconds."""
    deadline = time.monotonic() + timeout
    while count := await pending():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{count} were still waiting after {timeout} s")
        await asyncio.sleep(interval)
    return time.time()


class Speed(NamedTuple):
    """Speed of a process."""

    rate: float
    """Operations a second."""
    cpu: float
    """CPU seconds of its own for ten thousand, which other load of the machine affects less."""


async def speed_of_floor(loop: str, url: str, count: int, *more: int) -> Speed:
    """Measure how fast a loop of `tests.bench.floors` does `count` operations."""
    done = await output_of("tests.bench.floors", loop, url, str(count), *map(str, more))
    return Speed(count / done["seconds"], done["cpu"] / count * 10_000)


async def speed_of(running: Program, done: Any, count: int, timeout: float) -> Speed:
    """Measure how fast `done`, a coroutine function, counts from its first value above 0 to `count`."""
    deadline = time.monotonic() + timeout
    while not (first := await done()):
        await asyncio.sleep(_POLL_INTERVAL)
    began, before = time.perf_counter(), running.cpu()
    while (now := await done()) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{now} of {count} were done after {timeout} s")
        await asyncio.sleep(_POLL_INTERVAL)
    did = float(now - first) or 1.0
    return Speed(did / (time.perf_counter() - began), (running.cpu() - before) / did * 10_000)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of `values` lies."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0
