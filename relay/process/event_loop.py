"""Main coroutine of a process: runs on uvloop, stops on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, TypeVar

import uvloop

from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Coroutine

_TERMINATED = 128 + signal.SIGTERM
_CLEANUP_TIMEOUT = 2.0  # seconds for the cleanup of a command

Answer = TypeVar("Answer")


def run(main: Coroutine[None, None, Answer]) -> Answer:
    """Run `main` and return its result; Ctrl-C and SIGTERM cancel it, so that it cleans up (SystemExit 143)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_done(main))


async def _until_done(main: Coroutine[None, None, Answer]) -> Answer:
    """Run `main` as a task; on cancellation, cancel it until it ends, since a single one can be lost (`end_task`)."""
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()
    task = asyncio.create_task(main)
    if threading.current_thread() is threading.main_thread():
        # A process with its own way to stop replaces the handler (`stop_on_signals`).
        loop.add_signal_handler(signal.SIGTERM, terminated.set)
    waiting = asyncio.create_task(terminated.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_task(task, _CLEANUP_TIMEOUT)
        await end_task(waiting)
    if task.cancelled() and terminated.is_set():
        raise SystemExit(_TERMINATED)
    return task.result()


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; a second signal terminates the process."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop
