"""A group of processes that live and die together: each is started again when it ends, all are ended when we are.

A process that ends with 2 at its first start has found the environment or relay.toml wrong and told so; starting it
again would only repeat that, so the whole group ends with 2. One that had run before is started again all the same:
relay.toml may be broken just now, and the others go on with the rules that they have.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from relay.process.subprocesses import death_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WRONG_SETTINGS = 2
STOP_TIMEOUT = 40.0
"""Seconds a process has to end after SIGTERM: a worker's own bound, and some."""

_FIRST_PAUSE = 0.5
_MAX_PAUSE = 10.0
_STEADY = 30.0  # seconds after which a process counts as well started, and its next end as a first one

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Program:
    """What to run."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """On top of our own environment."""
    log: Path | None = None
    """Where its output goes; None for ours."""


async def supervise(programs: Sequence[Program], stop: asyncio.Event) -> int:
    """Keeps `programs` running until `stop` is set, then ends them; the exit code for the whole group."""

    async def keep(program: Program) -> bool:
        can_run = await _keep(program, stop)
        if not can_run:
            stop.set()
        return can_run

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keep(program)) for program in programs]
    return 0 if all(task.result() for task in tasks) else WRONG_SETTINGS


async def _keep(program: Program, stop: asyncio.Event) -> bool:
    """Runs one program until `stop`, again and again; False if it said that it cannot run."""
    pause = _FIRST_PAUSE
    loop = asyncio.get_running_loop()
    is_first = True
    while not stop.is_set():
        began = loop.time()
        code = await _run_once(program, stop)
        if stop.is_set():
            return True
        if code == WRONG_SETTINGS and is_first:
            return False
        is_first = False
        pause = _FIRST_PAUSE if loop.time() - began > _STEADY else min(2 * pause, _MAX_PAUSE)
        log.error("process.ended", name=program.name, code=code, again_in_s=pause)
        await _wait(stop, pause)
    return True


async def _run_once(program: Program, stop: asyncio.Event) -> int:
    with ExitStack() as stack:
        output = stack.enter_context(program.log.open("ab")) if program.log else None
        process = await asyncio.create_subprocess_exec(
            *program.arguments,
            env={**os.environ, **program.environment},
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end them in order
            preexec_fn=death_with_parent(),
        )
    log.debug("process.started", name=program.name, pid=process.pid)
    ended = asyncio.ensure_future(process.wait())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.terminate()
            await asyncio.wait({ended}, timeout=STOP_TIMEOUT)
        return await ended if ended.done() else process.returncode or -1
    finally:
        stopped.cancel()
        if process.returncode is None:
            log.error("process.killed", name=program.name, pid=process.pid, after_s=STOP_TIMEOUT)
            process.kill()
            await process.wait()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
