"""A process under test: signals, its clock, and its end."""

from __future__ import annotations

import asyncio
import re
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import ExitStack

STOP_TIMEOUT = 40.0
"""Seconds that a process of ours has to end after SIGTERM."""
MAX_STEP = 200.0
"""Seconds that a clock may be off: less than the tolerance of signatures, five minutes."""
_CAUGHT = re.compile(r"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


@dataclass(slots=True)
class ServiceProcess:
    """A process under test."""

    kind: str
    """`ingress` or `worker`."""
    name: str
    process: asyncio.subprocess.Process
    clock: Path
    admin_port: int
    reservation: ExitStack
    """Keeps the admin port free for the process until it has ended."""
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Acquired by the fault that affects it."""
    is_expected_to_end: bool = False
    """True if the run ends it."""

    def is_started(self) -> bool:
        """Return True if it handles SIGTERM, which it does as soon as it has something to end (Linux: `man 5 proc`)."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return True
        caught = _CAUGHT.search(status)
        return caught is None or bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    def set_clock(self, seconds: float) -> None:
        """Shift its clock by so many seconds."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", seconds))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Kill it."""
        self.is_expected_to_end = True
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Stop it gracefully and return its exit code, or that of the kill if it takes too long.

        A process that is still starting has no handler yet and ends by the signal, which counts as 0.
        """
        is_starting = not self.is_started()
        self.is_expected_to_end = True
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                code = await self.process.wait()
                return 0 if is_starting and code == -signal.SIGTERM else code
        self.signal(signal.SIGKILL)
        return await self.process.wait()
