"""Lifecycle of a process: whether it takes work, and why not."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.process.tasks import in_background

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


class Phase(StrEnum):
    """A phase, in words that may be shown to anyone."""

    STARTING = "starting"
    RUNNING = "ok"
    DRAINING = "draining"
    """An operator has ordered that it takes no new work."""
    STOPPING = "stopping"


class Lifecycle:
    """The phase in which a process is. A process that stops does so to its end."""

    def __init__(self, phase: Phase = Phase.RUNNING, reason: str = "") -> None:
        self.phase = phase
        self._reason = reason
        self._changed = asyncio.Event()
        self._followers: list[Callable[[Phase], None]] = []

    @property
    def detail(self) -> str:
        """The phase and its reason, for operators."""
        return f"{self.phase}: {self._reason}" if self._reason else self.phase.value

    @property
    def is_draining(self) -> bool:
        """True while an operator has ordered that it takes no new work."""
        return self.phase is Phase.DRAINING

    def run(self) -> None:
        """Take work, unless it is stopping."""
        self._enter(Phase.RUNNING, "")

    def drain(self, reason: str) -> None:
        """Take no new work, until `run`."""
        self._enter(Phase.DRAINING, reason)

    def stop(self, reason: str = "the process was told to stop") -> None:
        """Take no more work: the process will end."""
        self._enter(Phase.STOPPING, reason)

    def follow(self, act: Callable[[Phase], None]) -> None:
        """Call `act` with each new phase."""
        self._followers.append(act)

    async def until(self, *phases: Phase) -> None:
        """Wait until it is in one of `phases`."""
        while self.phase not in phases:
            self._changed.clear()
            await self._changed.wait()

    def stopping_with(self, stop: asyncio.Event) -> AbstractAsyncContextManager[object]:
        """Let it stop at once when `stop` is set, while the context is open."""
        return in_background(self._stop_with(stop))

    async def _stop_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.stop()

    def _enter(self, phase: Phase, reason: str) -> None:
        if self.phase is Phase.STOPPING:
            return
        is_new = phase is not self.phase
        self.phase, self._reason = phase, reason
        if is_new:
            self._changed.set()
            for act in self._followers:
                act(phase)
