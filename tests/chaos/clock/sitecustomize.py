"""Run by Python at the start of every process that has this directory on its PYTHONPATH: the processes under test.

`time.time` there is the real time plus the number of seconds (a double) in the file named by CHAOS_CLOCK, so that a run
can step a process's clock. `datetime.now` is unchanged: the relay reads it for its logs only, and arq for the second at
which a cron job is due.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path


def _follow(path: Path) -> None:
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real, read = time.time, struct.Struct("d").unpack_from
    time.time = lambda: real() + read(shared)[0]


if "CHAOS_CLOCK" in os.environ:
    _follow(Path(os.environ["CHAOS_CLOCK"]))
