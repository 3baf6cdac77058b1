"""Run by Python at the start of every process that has this directory on its PYTHONPATH: the processes under test.

`time.time` there is the real time plus the number of seconds (a double) in the file named by CHAOS_CLOCK, so that a run
can step a process's clock. `datetime.now` is unchanged: the relay reads it for its logs only, and arq for the second at
which a cron job is due. Questions about names go to the name server in CHAOS_DNS instead of that of this machine.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def _follow(path: Path) -> None:
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real, read = time.time, struct.Struct("d").unpack_from
    time.time = lambda: real() + read(shared)[0]


def _ask(server: str) -> None:
    import aiodns  # noqa: PLC0415  only for processes that have it

    class Resolver(aiodns.DNSResolver):
        def __init__(self, nameservers: Sequence[str] | None = None, *arguments: Any, **options: Any) -> None:
            super().__init__(nameservers or [server], *arguments, **options)

    aiodns.DNSResolver = Resolver  # type: ignore[misc]  # in place of /etc/resolv.conf, which belongs to the machine


if "CHAOS_CLOCK" in os.environ:
    _follow(Path(os.environ["CHAOS_CLOCK"]))
if "CHAOS_DNS" in os.environ:
    _ask(os.environ["CHAOS_DNS"])
