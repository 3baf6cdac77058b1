"""Metrics of processes that share a port: each writes its numbers to files of one folder, which any of them can read.

The supervisor makes the folder, since it starts the processes and outlives them. Counters of a process that has ended
stay: they must not fall when it is restarted. Its gauges, such as the connections that it had, are deleted.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of prometheus-client: the folder. Without it, a process keeps its numbers to itself."""


@contextmanager
def sharing_metrics() -> Iterator[Path]:
    """Make a folder for the metrics of processes, and delete it with its contents on exit."""
    with TemporaryDirectory(prefix="linq-relay-metrics-") as folder:
        yield Path(folder)


def metrics_variable(folder: Path | None) -> dict[str, str]:
    """Return the environment variable that lets a process write its metrics to `folder`."""
    return {} if folder is None else {SHARED_FOLDER: str(folder)}


def forget_process(folder: Path, pid: int) -> None:
    """Delete the gauges of a process that has ended."""
    for file in folder.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)
