"""Metrics of processes that share a port: each writes its numbers to files of one folder, which any of them can read.

The supervisor makes the folder, since it starts the processes and outlives them. Counters of a process that has ended
stay: they must not fall when it is restarted. Its gauges, such as the connections that it had, are deleted.
"""

from __future__ import annotations

from pathlib import Path

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of prometheus-client: the folder. Without it, a process keeps its numbers to itself."""


def forget_process(folder: Path | str, pid: int) -> None:
    """Delete the gauges of a process that has ended."""
    for file in Path(folder).glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)
