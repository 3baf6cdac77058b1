"""Running a process's main coroutine: on uvloop, and told to stop by SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

import uvloop

from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Coroutine

_TIMEOUT = 2.0  # seconds for what a command does at its end

Answer = TypeVar("Answer")


def run(main: Coroutine[None, None, Answer]) -> Answer:
    """What `main` returns; Ctrl-C cancels it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_over(main))


async def _until_over(main: Coroutine[None, None, Answer]) -> Answer:
    """`main`, which one cancellation may not end (`end_task`)."""
    task = asyncio.create_task(main)
    try:
        await asyncio.wait({task})
    finally:
        await end_task(task, _TIMEOUT)
    return task.result()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets, once; a second signal ends the process the hard way."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop
