"""Many subscriptions and lines: what they cost a relay that starts, is idle, sweeps and delivers.

    push    the same deliveries to one subscription and, as the ratio, to 500 of one topic
    1,000   subscriptions, each with a topic of its own, and 5,000 lines: start, memory, CPU at rest after some events
    20,000  subscriptions of 2,000 topics, of which 100 get events, beside a relay that has only these 100 (the floor)

The CPU at rest is that of each process in a minute in which no event comes, so that each job of the minute runs once: a
share of one core. Then the jobs are run by themselves: their CPU, Redis's included, is what other load affects least.
Only the pushes are measured in every round.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from relay.alerts.reading import read_facts
from relay.config.file import ConfigFile
from relay.config.settings import Settings
from relay.parts import open_keyring
from relay.store.ledger.kept import KeptStates
from relay.store.state.kept import KeptState
from tests.bench.events import line_of
from tests.bench.parts.push import pushed
from tests.bench.sheet import FLOOR, RELAY, add_speed
from tests.bench.stage import Speed, finished, new_stage, sink
from tests.building import SECRET
from tests.support import KEYS
from workers.maintenance.retention import Retention
from workers.maintenance.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.bench.processes import Program
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "many"
_OF_TOPIC = 10  # subscriptions
_TIMEOUT = 300.0
_RUNS = 5  # of each job
_SETTLED = 20.0  # seconds: some sweeps, and the end of the deliver jobs


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a relay."""

    subscriptions: int
    active: int
    """Subscriptions that get events: the first ones."""
    of_topic: int = _OF_TOPIC
    """Subscriptions of each topic."""
    lines_of_topic: int = 2

    @property
    def topics(self) -> int:
        return max(self.subscriptions // self.of_topic, 1)

    @property
    def lines(self) -> int:
        return self.topics * self.lines_of_topic

    @property
    def active_lines(self) -> int:
        return max(self.active // self.of_topic, 1) * self.lines_of_topic


async def measure(scale: Scale, sheet: Sheet) -> None:
    many = Size(scale.subscriptions, scale.subscriptions, of_topic=1, lines_of_topic=5)
    few, most = Size(scale.active, scale.active), Size(scale.configured, scale.active)
    for _ in range(scale.rounds):
        await _push(sheet, scale)
    await _observe(sheet, f"{many.subscriptions:,} subscriptions, {many.lines:,} lines", RELAY, many, scale)
    what = f"{most.subscriptions:,} subscriptions, {most.active} active (floor: these alone)"
    await _observe(sheet, what, FLOOR, few, scale)
    await _observe(sheet, what, RELAY, most, scale)


async def _push(sheet: Sheet, scale: Scale) -> None:
    """Compare the speed of many lanes (the relay's column) with that of a single one (the floor's)."""
    lanes = min(500, scale.pushed)
    for count, system in ((1, FLOOR), (lanes, RELAY)):
        add_speed(
            sheet, PART, f"push to {lanes} subscriptions (floor: to 1)", system, await pushed(count, scale.pushed)
        )


async def _observe(sheet: Sheet, what: str, system: str, size: Size, scale: Scale) -> None:
    async with sink() as port, new_stage(rules_of(size, port)) as stage:
        await _store_keys(stage, size.lines)
        firsts = size.active_lines
        events = max(scale.pushed // size.of_topic // firsts, 1) * firsts
        async with stage.ingress() as ingress, stage.worker() as worker:
            for name, process in (("ingress", ingress), ("worker", worker)):
                sheet.add(PART, f"{what}: {name} ready after", system, process.started_in, "s")
                sheet.add(PART, f"{what}: CPU of the {name} until then", system, process.cpu(), "s")
            began, before = time.perf_counter(), worker.cpu()
            await stage.accept(firsts, firsts, "first")
            await _until_delivered(stage, size, firsts * size.of_topic)
            sheet.add(PART, f"{what}: first events delivered after", system, time.perf_counter() - began, "s")
            cpu = (worker.cpu() - before) / (firsts * size.of_topic) * 10_000
            sheet.add(PART, f"{what}: first events: CPU per 10,000", system, cpu, "s")
            began, before = time.perf_counter(), worker.cpu()
            await stage.accept(events, firsts)
            await _until_delivered(stage, size, (firsts + events) * size.of_topic)
            done = events * size.of_topic
            speed = Speed(done / (time.perf_counter() - began), (worker.cpu() - before) / done * 10_000)
            add_speed(sheet, PART, f"{what}: routed and delivered", system, speed)
            await asyncio.sleep(min(_SETTLED, scale.idle))
            await _idle(sheet, what, system, stage, {"ingress": ingress, "worker": worker}, scale.idle)
            for name, process in (("ingress", ingress), ("worker", worker)):
                sheet.add(PART, f"{what}: memory of the {name}", system, process.rss(), "MB")
        await _jobs(sheet, what, system, stage)
        assert (await stage.totals()).accepted == events + firsts
        await stage.lanes()


async def _store_keys(stage: Stage, lines: int) -> None:
    """Store a secret for each line, as bootstrap does."""
    settings = Settings(redis_url=stage.url, relay_secret_key=SecretStr(stage.key))
    keyring = open_keyring(settings, stage.redis)
    for start in range(0, lines, 100):
        numbers = range(start, min(start + 100, lines))
        await asyncio.gather(
            *(keyring.store(line_of(number), 1, f"many-{number}", SECRET, time.time()) for number in numbers)
        )


async def _until_delivered(stage: Stage, size: Size, count: int) -> None:
    async def left() -> int:
        async with stage.redis.pipeline(transaction=False) as pipe:
            for number in range(size.active):
                pipe.hget(KEYS.lane(f"team-{number}"), "delivered")
            done = sum(int(delivered or 0) for delivered in await pipe.execute())
        return max(count - done, 0)

    await finished(left, _TIMEOUT, 0.05)


async def _idle(
    sheet: Sheet, what: str, system: str, stage: Stage, processes: dict[str, Program], seconds: float
) -> None:
    """Add the share of a core that each process needs while no event comes."""

    def used() -> dict[str, float]:
        return {name: process.cpu() for name, process in processes.items()} | {"Redis": stage.redis_cpu()}

    before, began = used(), time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    for name, cpu in used().items():
        sheet.add(PART, f"{what}: idle, {name}", system, (cpu - before[name]) / took * 100, "% of a core")


async def _jobs(sheet: Sheet, what: str, system: str, stage: Stage) -> None:
    """Add the CPU, Redis's included, that each periodic job takes while no event comes."""
    file = stage.directory / "alerts.toml"
    file.write_text(f'{stage.rules_file.read_text()}[alerts]\nurl = "http://127.0.0.1/"\nsecret = "{SECRET.text}"\n')
    redis, rules = stage.redis, ConfigFile(file)
    sweeper, retention = Sweeper(redis, rules, time.time), Retention(redis, rules, time.time)
    lanes = KeptStates(redis)
    kept = KeptState(redis, lanes)
    jobs: dict[str, Callable[[], Awaitable[object]]] = {
        "a sweep": sweeper.sweep,
        "retention": retention.trim,
        "the ledgers for the history": lambda: lanes.read(1.0),
        "a look for alerts": lambda: read_facts(redis, rules.current, time.time(), kept),
    }
    for name, run in jobs.items():
        await run()  # it knows from then on what is at rest
        before = time.process_time() + stage.redis_cpu()
        for _ in range(_RUNS):
            await run()
        cpu = time.process_time() + stage.redis_cpu() - before
        sheet.add(PART, f"{what}: CPU of {name}", system, cpu / _RUNS * 1000, "ms")


def rules_of(size: Size, port: int) -> str:
    """Return rules with topics of `lines_of_topic` lines each, and subscriptions to them."""
    topics = (
        f'[[topics]]\nname = "topic-{number}"\nevents = ["message.*"]\nlines = ['
        + ", ".join(f'"{line_of(number * size.lines_of_topic + place)}"' for place in range(size.lines_of_topic))
        + "]\n"
        for number in range(size.topics)
    )
    subscriptions = (
        f'[[subscriptions]]\nname = "team-{number}"\ntopic = "topic-{number // size.of_topic}"\n'
        f'url = "http://127.0.0.1:{port}/{number}"\nsecret = "{SECRET.text}"\n'
        for number in range(size.subscriptions)
    )
    return "".join((*topics, *subscriptions))
