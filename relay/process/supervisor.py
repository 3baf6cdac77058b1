"""Supervisor of a group of processes: restarts each when it exits, and stops all when it is stopped.

Exit code 2 at the first start means that the process found a mistake in the environment or relay.toml and reported it.
A restart would only repeat that, so the whole group exits with 2. A process that has run before is restarted even then:
relay.toml may be invalid for a moment, while the other processes keep their rules.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from relay.process.subprocesses import death_with_parent
from relay.process.tasks import wait_for_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WRONG_SETTINGS = 2
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of prometheus-client: the folder. Without it, a process keeps its numbers to itself."""
STOP_TIMEOUT = 40.0
"""Seconds until SIGKILL after SIGTERM: longer than a worker's own shutdown timeout."""

_FIRST_PAUSE = 0.5
_MAX_PAUSE = 10.0
_STEADY = 30.0  # seconds of running after which the restart backoff is reset

log = structlog.get_logger()


@dataclass(slots=True)
class Status:
    """State of a program, kept up to date by its supervisor."""

    pid: int | None = None
    """None while it does not run."""
    exit_code: int | None = None
    """That of its last run; None before its first end."""

    @property
    def text(self) -> str:
        """The state in a few words."""
        if self.pid is not None:
            return f"running (pid {self.pid})"
        return "not started" if self.exit_code is None else f"not running (it ended with exit code {self.exit_code})"


@dataclass(frozen=True, slots=True)
class Program:
    """Program to run."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to those of this process."""
    log: Path | None = None
    """File for its output; None for the output of this process."""
    descriptors: Sequence[int] = ()
    """Open files of this process that it inherits."""
    status: Status = field(default_factory=Status)


async def supervise(programs: Sequence[Program], stop: asyncio.Event, stop_timeout: float = STOP_TIMEOUT) -> int:
    """Keep `programs` running until `stop` is set, then stop them; return the exit code of the whole group.

    A program that has not ended `stop_timeout` seconds after its SIGTERM is killed.
    """

    async def keep(program: Program) -> bool:
        can_run = await _keep(program, stop, stop_timeout)
        if not can_run:
            stop.set()
        return can_run

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keep(program)) for program in programs]
    return 0 if all(task.result() for task in tasks) else WRONG_SETTINGS


async def _keep(program: Program, stop: asyncio.Event, stop_timeout: float) -> bool:
    """Run a program, with restarts, until `stop`; return False if its first start found wrong settings."""
    pause = _FIRST_PAUSE
    loop = asyncio.get_running_loop()
    is_first = True
    while not stop.is_set():
        began = loop.time()
        code = await _run_once(program, stop, stop_timeout)
        if stop.is_set():
            return True
        if code == WRONG_SETTINGS and is_first:
            return False
        is_first = False
        pause = _FIRST_PAUSE if loop.time() - began > _STEADY else min(2 * pause, _MAX_PAUSE)
        log.error("process.ended", name=program.name, code=code, again_in_s=pause)
        await wait_for_event(stop, pause)
    return True


async def _run_once(program: Program, stop: asyncio.Event, stop_timeout: float) -> int:
    with ExitStack() as stack:
        output = stack.enter_context(program.log.open("ab")) if program.log else None
        process = await asyncio.create_subprocess_exec(
            *program.arguments,
            env={**os.environ, **program.environment},
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C must reach the supervisor only, which stops the programs in order
            preexec_fn=death_with_parent(),
            pass_fds=program.descriptors,
        )
    program.status.pid = process.pid
    log.debug("process.started", name=program.name, pid=process.pid)
    ended = asyncio.ensure_future(process.wait())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.terminate()
            await asyncio.wait({ended}, timeout=stop_timeout)
        return await ended if ended.done() else process.returncode or -1
    finally:
        stopped.cancel()
        if process.returncode is None:
            log.error("process.killed", name=program.name, pid=process.pid, after_s=stop_timeout)
            process.kill()
            await process.wait()
        if folder := program.environment.get(SHARED_FOLDER):
            forget_process(folder, process.pid)
        program.status.pid, program.status.exit_code = None, process.returncode


def forget_process(folder: Path | str, pid: int) -> None:
    """Delete the gauges of a process that has ended; its counters stay, since they must not fall when it restarts."""
    for file in Path(folder).glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)
