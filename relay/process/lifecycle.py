"""Lifecycle of a process: whether it takes work, and why not."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Phase(StrEnum):
    """A phase, in words that may be shown to anyone."""

    STARTING = "starting"
    RUNNING = "ok"
    STOPPING = "stopping"


class Lifecycle:
    """The phase in which a process is."""

    def __init__(self, phase: Phase = Phase.RUNNING, reason: str = "") -> None:
        self.phase = phase
        self._reason = reason

    @property
    def detail(self) -> str:
        """The phase and its reason, for operators."""
        return f"{self.phase}: {self._reason}" if self._reason else self.phase.value

    def run(self) -> None:
        """Take work."""
        self.phase, self._reason = Phase.RUNNING, ""

    def stop(self, reason: str = "the process was told to stop") -> None:
        """Take no more work: the process will end."""
        self.phase, self._reason = Phase.STOPPING, reason


async def stop_with(stop: asyncio.Event, lifecycle: Lifecycle) -> None:
    """Let `lifecycle` stop at once when `stop` is set, whatever the process does until it ends."""
    await stop.wait()
    lifecycle.stop()
