"""Tests in the background: what waits more than it computes runs beside the processes of pytest-xdist, from the start.

A test says so with `@pytest.mark.background`. Under pytest-xdist, the first process starts a pytest of its own with all
of them, one after the other; each process has, in their place and at its end, items that wait for their outcomes and
report them. Alone, or without pytest-xdist, such a test is like any other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import pytest

from tests.on_cluster import options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "background"
_REPORTS_OF_BACKGROUND = "RELAY_TEST_BACKGROUND"
"""Variable of the pytest in the background: the file for its reports."""
_STOP = "stop"
"""File that says that the session was stopped."""
_POLL = 0.05  # seconds
_STOP_TIMEOUT = 30.0  # seconds until the pytest in the background has ended its own processes
_TIMEOUT = 900  # seconds; each test in the background has a timeout of its own


class InBackground(pytest.Item):
    """A test that runs in the background: waits for its reports."""

    reports: Path

    def runtest(self) -> None:
        """Wait until the test has ended, and end as it did."""
        outcomes = list(_reports_of(self.nodeid, self.reports))
        for wanted, end in (("failed", _fail), ("skipped", pytest.skip)):
            for report in outcomes:
                if report["outcome"] == wanted:
                    end(report["text"])


class Background:
    """Plugin of a process of pytest-xdist: has the marked tests run in the background."""

    def __init__(self, directory: Path, *, is_first: bool) -> None:
        self._directory = directory
        self._is_first = is_first
        self._process: subprocess.Popen[bytes] | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put an item that waits in the place of each marked test, at the end."""
        waiting = [_waiting(item, self._directory / "reports") for item in items if item.get_closest_marker(MARK)]
        items[:] = [*(item for item in items if not item.get_closest_marker(MARK)), *waiting]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start the tests, in the first process."""
        tests = [item.nodeid for item in session.items if isinstance(item, InBackground)]
        if self._is_first and tests:
            options = options_of(session.config)
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
            with (self._directory / "log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603  our own program
                    [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *options, *tests],
                    cwd=session.config.rootpath,
                    env=environment | {_REPORTS_OF_BACKGROUND: str(self._directory / "reports")},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            (self._directory / "pid").write_text(str(self._process.pid))

    def pytest_sessionfinish(self) -> None:
        """Wait for the tests; stop them if the session was stopped."""
        if self._process is None:
            return
        while self._process.poll() is None and not (self._directory / _STOP).exists():
            time.sleep(_POLL)
        self._process.send_signal(signal.SIGINT)  # it then ends its own processes; nothing if it has ended
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT)
        self._process.kill()
        self._process.wait()


class Reporter:
    """Plugin of the pytest in the background: writes a line for each report of a test."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the outcome of a phase, and its text if it is not good."""
        text = ""
        if report.skipped and isinstance(report.longrepr, tuple):
            text = report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed:
            text = "\n".join([report.longreprtext, *(f"--- {title}\n{said}" for title, said in report.sections)])
        line = {"test": report.nodeid, "when": report.when, "outcome": report.outcome, "text": text}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Add the plugin that this process needs."""
    if file := os.environ.pop(_REPORTS_OF_BACKGROUND, None):
        config.pluginmanager.register(Reporter(Path(file)))
    elif given := getattr(config, "workerinput", {}):
        background = Background(Path(given[MARK]), is_first=given["workerid"] == "gw0")
        config.pluginmanager.register(background)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give each process of pytest-xdist the same directory."""
    if not hasattr(node.config, "background_directory"):
        node.config.background_directory = tempfile.mkdtemp(prefix="relay-background-")
        node.config.add_cleanup(lambda: rmtree(node.config.background_directory, ignore_errors=True))
    node.workerinput[MARK] = node.config.background_directory


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell the processes of pytest-xdist that the session was stopped, as by the first failure with `-x`."""
    directory = getattr(session.config, "background_directory", None)
    if directory and exitstatus == pytest.ExitCode.INTERRUPTED:
        (Path(directory) / _STOP).touch()


def _waiting(item: pytest.Item, reports: Path) -> InBackground:
    assert item.parent is not None
    waiting: InBackground = InBackground.from_parent(item.parent, name=item.name)
    waiting.reports = reports
    waiting.add_marker(pytest.mark.timeout(_TIMEOUT))
    return waiting


def _reports_of(test: str, file: Path) -> Iterator[dict[str, str]]:
    """Yield the reports of a test, and wait for the last; one that fails if the pytest in the background has ended."""
    with file.open("a+", encoding="utf-8") as lines:
        lines.seek(0)
        rest = ""
        while True:
            # Before reading: all that it wrote is there.
            has_ended = _has_ended(file.with_name("pid")) or file.with_name(_STOP).exists()
            rest += lines.read()
            *whole, rest = rest.split("\n")
            for report in map(json.loads, whole):
                if report["test"] == test:
                    yield report
                    if report["when"] == "teardown":
                        return
            if has_ended:
                log = file.with_name("log").read_text(errors="replace")
                yield {"outcome": "failed", "text": f"the pytest in the background ended before this test:\n{log}"}
                return
            time.sleep(_POLL)


def _has_ended(pid: Path) -> bool:
    """Return True if the process whose id is in a file was started and has ended, be it that nothing waited for it."""
    try:
        status = Path(f"/proc/{pid.read_text()}/stat").read_text()
    except FileNotFoundError:
        return pid.exists() and bool(pid.read_text())
    return status.rpartition(")")[2].split()[0] in {"Z", "X"}


def _fail(text: str) -> None:
    pytest.fail(text, pytrace=False)
