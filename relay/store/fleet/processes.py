"""Processes of the relay: each reports its role, its phase and the work it has in hand every second.

A process that accepts webhooks also notes that it did: a long time without such a note is an outage (`store.gaps`). It
notes that on each shard.

The same round trip brings the operators' orders to drain. A process that has been silent for a while has ended, or
hangs, and is forgotten. While Redis cannot be reached, the last orders stay in force until they expire.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog
from pydantic import TypeAdapter, ValidationError

from relay.process.build import VERSION, revision
from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS, Timings
from relay.store.driver.client import REDIS_ERRORS, ask, describe
from relay.store.driver.scripts import Script
from relay.store.fleet.drain_orders import DrainOrder, orders_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.process.lifecycle import Lifecycle
    from relay.store.driver.client import Redis

SILENT = 30.0
"""Seconds without a report after which a process counts as ended; more than clocks may differ (`relay doctor`)."""
_REMIND = 60.0  # seconds from one log line about a drain to the next
_LOOK_EVERY = 30  # reports; then the process forgets the silent ones

_report = Script(__package__, "report")
_note_answer = Script(__package__, "note_answer", names_all_keys=True)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """A process, as it reported itself."""

    role: str
    host: str
    pid: int
    version: str
    revision: str
    started_ms: int
    """Unix milliseconds, as `at_ms`."""
    at_ms: int
    phase: str
    work: tuple[str, ...]
    """The work in hand, in words."""
    shards: int = 1
    """RELAY_SHARDS of the process; releases that do not report it know one."""
    dedupe_window_ms: int | None = None
    """RELAY_DEDUPE_WINDOW of a process that accepts webhooks; None of others, and of releases that do not report it."""

    @property
    def name(self) -> str:
        """The process in a few words."""
        return f"{self.role} on {self.host} (pid {self.pid})"


_REPORT = TypeAdapter(ProcessReport)


class Reporter:
    """The reports of this process, and the orders to drain it. Enter it as a context."""

    def __init__(
        self,
        redis: Redis,
        role: str,
        lifecycle: Lifecycle,
        work: Callable[[], Sequence[str]],
        timings: Timings = DEFAULTS,
        *,
        dedupe_window: float | None = None,
    ) -> None:
        """`work` returns the work in hand, in words.

        `dedupe_window` is that of a process that accepts Linq's webhooks, in seconds; None for others.
        """
        self._accepts = dedupe_window is not None
        self._dedupe_window_ms = None if dedupe_window is None else round(dedupe_window * 1000)
        self._outage_ms = round(timings.outage * 1000)
        self._redis = redis
        self._role = role
        self._host = socket.gethostname()
        self._lifecycle = lifecycle
        self._work = work
        self._interval = timings.process_report
        self._id = f"{self._host}/{os.getpid()}/{secrets.token_hex(4)}"
        self._started_ms = round(time.time() * 1000)
        self._reports = 0
        self._orders: list[DrainOrder] = []
        self._reminded = -_REMIND
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._try()  # before it takes work: it may have been told to drain
        self._task = asyncio.create_task(self._run(), name="process report")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        with suppress(*REDIS_ERRORS):
            await ask(self._redis.hdel(self._redis.key.processes, self._id))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._try()

    async def _try(self) -> None:
        """Report once; any error is logged once, since the work matters more than the report."""
        try:
            await self.report()
        except Exception as error:  # noqa: BLE001  any error
            if self._failure is None and not isinstance(error, REDIS_ERRORS):
                log.warning("process.not_reported", error=describe(error))
            self._failure = describe(error)
        else:
            self._failure = None
        self._obey()

    async def report(self) -> None:
        """Write the report of this process, and read the orders."""
        now_ms = round(time.time() * 1000)
        own = ProcessReport(
            role=self._role,
            host=self._host,
            pid=os.getpid(),
            version=VERSION,
            revision=revision(),
            started_ms=self._started_ms,
            at_ms=now_ms,
            phase=self._lifecycle.phase.value,
            work=tuple(self._work()),
            shards=len(self._redis.shards),
            dedupe_window_ms=self._dedupe_window_ms,
        )
        looks = "1" if self._reports % _LOOK_EVERY == 0 else "0"
        self._reports += 1
        arguments: list[bytes | str | int] = [self._id, _REPORT.dump_json(own), round(now_ms - SILENT * 1000), looks]
        arguments += (now_ms if self._accepts else "", self._outage_ms)
        key = self._redis.key
        rows = await _report(self._redis, [key.processes, key.drain_orders, key.gaps], arguments)
        self._orders = orders_in(dict(zip(rows[::2], rows[1::2], strict=True)), now_ms)
        if self._accepts and self._redis.others:
            await asyncio.gather(*(self._note_answer(shard, now_ms) for shard in self._redis.others))

    async def _note_answer(self, shard: Redis, now_ms: int) -> None:
        with suppress(*REDIS_ERRORS):  # an outage of this shard, which a later note records
            await _note_answer(shard, [shard.key.gaps], [now_ms, self._outage_ms])

    def _obey(self) -> None:
        """Drain if an order concerns this process, and say so again and again; take work again when it is over."""
        now_ms = time.time() * 1000
        orders = [order for order in self._orders if order.concerns(self._role, self._host)]
        order = next((order for order in orders if order.until_ms > now_ms), None)
        was_draining = self._lifecycle.is_draining
        if order is None:
            if was_draining:
                self._lifecycle.run()
                self._reminded = -_REMIND
                log.info("process.drain_ended", role=self._role)
            return
        self._lifecycle.drain(order.text)
        if time.monotonic() - self._reminded >= _REMIND:
            self._reminded = time.monotonic()
            log.warning("process.draining", role=self._role, order=order.text)


async def processes(redis: Redis, now_ms: float) -> list[ProcessReport]:
    """Return the processes that have reported lately."""
    found = []
    for text in (await ask(redis.hgetall(redis.key.processes))).values():
        with suppress(ValidationError):
            report = _REPORT.validate_json(text)
            if report.at_ms > now_ms - SILENT * 1000:
                found.append(report)
    return sorted(found, key=lambda report: (report.role, report.host, report.pid))
