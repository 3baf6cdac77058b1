"""Processes of a run, on loopback, ended by their ids; their cost is read from `/proc` (Linux)."""

from __future__ import annotations

import asyncio
import compileall
import json
import os
import platform
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from relay.process.embedded_redis import server_program
from tests.bench.load import Outcome
from tests.forked.process import start_python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from tests.bench.events import Order

ROOT = Path(__file__).absolute().parents[2]  # not resolved: another revision has this folder as a link (`against`)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_TIMEOUT = 120.0
_STOP_TIMEOUT = 10.0
_POLL_INTERVAL = 0.01

new_interpreters = True
"""False where only the results count, and not what a process costs: they are forks then, which start sooner."""


@dataclass(frozen=True, slots=True)
class Program:
    """A process with its children."""

    pid: int
    started_in: float
    """Seconds until it was ready."""

    def cpu(self) -> float:
        """Return the CPU seconds so far."""
        return sum(map(_cpu, _family(self.pid)))

    def rss(self) -> float:
        """Return the megabytes in memory, children included."""
        return sum(map(_rss, _family(self.pid)))


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of one process so far."""
    return _cpu(pid)


def pin(pid: int, core: int) -> None:
    """Let a process and its children, with all their threads, run on one core only."""
    for member in _family(pid):
        for thread in Path(f"/proc/{member}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in _family(int(child)))]


def surroundings() -> str:
    """Return the revision of this checkout, and the versions and the machine that it is measured with."""
    revision = _line("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "no revision"
    server = " ".join(_line(server_program(), "--version").split()[:3])
    return f"revision {revision}, Python {platform.python_version()}, {server}, {os.cpu_count()} CPUs"


def _line(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603  ours
    except OSError:
        return ""


@asynccontextmanager
async def program(
    *arguments: str,
    ready: Callable[[], Awaitable[object]],
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> AsyncIterator[Program]:
    """Run `python -m` with `arguments` while the context is open; it logs to `log` or as this process."""
    began = time.perf_counter()
    errors = log.open("wb") if log else None
    process = await start_python(
        *arguments,
        environment={**os.environ, **(environment or {})},
        directory=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=errors,
        new_interpreter=new_interpreters,
    )
    if errors:
        errors.close()
    try:
        while not await ready():
            if process.returncode is not None:
                raise RuntimeError(f"{' '.join(arguments)} ended at once with {process.returncode}")
            if time.perf_counter() - began > _START_TIMEOUT:
                raise RuntimeError(f"{' '.join(arguments)} was not ready after {_START_TIMEOUT:.0f} s")
            await asyncio.sleep(_POLL_INTERVAL)
        yield Program(process.pid, time.perf_counter() - began)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def compile_checkout() -> None:
    """Compile this checkout, as pip does when it installs one: without bytecode a worker starts twice as late."""
    for folder in ("relay", "workers", "tests/bench"):
        compileall.compile_dir(ROOT / folder, quiet=1)


async def output_of(*arguments: str) -> Any:
    """Return the JSON output of `python -m` with `arguments`."""
    process = await start_python(
        *arguments, directory=ROOT, stdout=asyncio.subprocess.PIPE, new_interpreter=new_interpreters
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return json.loads(output)


async def load(order: Order) -> Outcome:
    """Carry out an order; every request must be accepted."""
    outcome = Outcome(**await output_of("tests.bench.load", json.dumps(asdict(order))))
    if set(outcome.statuses) != {"200"}:
        raise RuntimeError(f"the service responded {outcome.statuses}, such as {outcome.first[:300]}")
    return outcome


def answers(port: int, path: str) -> Callable[[], Awaitable[bool]]:
    """Return a function that is true once a server responds 200 at `path`."""

    async def poll() -> bool:
        try:
            async with aiohttp.request("GET", f"http://127.0.0.1:{port}{path}") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    return poll
