"""Running a process's main coroutine: on uvloop, and told to stop by SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

import uvloop

if TYPE_CHECKING:
    from collections.abc import Coroutine

Answer = TypeVar("Answer")


def run(main: Coroutine[None, None, Answer]) -> Answer:
    """What `main` returns."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


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
