"""A member of a group: one process after the other, each a life. What a life says is recorded with the time of arrival.

Lines come through a pipe, so all that a process wrote before it was killed is there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from relay.process.subprocesses import death_with_parent
from tests.chaos.events import number_of
from tests.soak.records import Begun, Ended, GroupRecord

if TYPE_CHECKING:
    from pathlib import Path

_STOP_TIMEOUT = 60.0


class Life:
    """A running process."""

    def __init__(self, number: int, member: str, process: asyncio.subprocess.Process, record: GroupRecord) -> None:
        self.number = number
        self.member = member
        """Its name in the group."""
        self.process = process
        self.is_expected_to_end = False
        self.has_begun = asyncio.Event()
        """Set with its first line: it is a member."""
        self._record = record
        self._crashing: int | None = None
        self.reading = asyncio.create_task(self._read())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs.

        Not by the process's own method: that looks for its end first, and takes the exit code away from asyncio.
        """
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            now = time.time()
            what, event, *more = line.decode().split()
            number = number_of(event)
            assert number is not None, line
            self.has_begun.set()
            self._crashing = None
            if what == "begun":
                self._record.begun.append(Begun(number, self.number, int(more[1]), now))
                self._crashing = number
            else:
                self._record.ended.append(Ended(number, self.number, now, what == "done"))

    async def end(self) -> int:
        """Wait until it has ended and all of its lines are recorded; return its exit code."""
        code = await self.process.wait()
        await self.reading
        return code

    @property
    def last_begun(self) -> int | None:
        """Return the event that it had begun, and not ended, when it died."""
        return self._crashing

    async def stop(self) -> int:
        """Have it leave the group; return its exit code, or that of the kill if it takes too long."""
        self.is_expected_to_end = True
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT):
                return await self.end()
        self.signal(signal.SIGKILL)
        return await self.end()


async def start_life(
    number: int, member: str, command: list[str], environment: dict[str, str], record: GroupRecord, log: Path
) -> Life:
    """Start a process of a member; its errors go to a log."""
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **environment, "MEMBER": member},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            preexec_fn=death_with_parent(),
        )
    return Life(number, member, process, record)
