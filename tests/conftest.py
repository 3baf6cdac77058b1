"""Fixtures for all tests: a Redis that is emptied for each test, a clock that stands still, a clean environment.

The Redis is the embedded one on a free port, in a directory of its own; under pytest-xdist each process has its own. A
machine's own server is never touched. Nothing sleeps where it can wait for a condition: `eventually` polls for it.

Slow tests run first, so that two processes end at about the same time, and those that mostly wait run in the background
(`tests.background`). A test that is marked `needs_tool("name")` is
skipped where the program is missing, and the summary names what was skipped for it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from relay.config.settings import Settings
from relay.process.embedded_redis import Embedded, embedded_redis
from relay.store.driver.client import Redis
from tests.support import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

pytest_plugins = ("tests.on_cluster", "tests.background", "tests.compiled_templates", "tests.patient_searches")

# Tests run in directories of their own, without what Hypothesis keeps in the current one: its table of characters.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).resolve().parents[1] / ".hypothesis"))
# Hypothesis imports all of trio, which selenium brings, for a plugin that no test uses.
os.environ["HYPOTHESIS_NO_PLUGINS"] = "1"

NOW = 1_789_377_302.0
"""Time of the tests' clock, and of the samples: 2026-09-14T09:15:02Z."""
_MISSING_TOOL = "missing tool: "
_VARIABLES = {field.upper() for field in Settings.model_fields}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector, and leave what was collected and imported out of its later work."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first, and the commands next, some of which start processes too."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "tests/cli" not in item.nodeid))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test for which no tool is there that it needs."""
    for marker in item.iter_markers("needs_tool"):
        if not any(map(shutil.which, marker.args)):
            pytest.skip(_MISSING_TOOL + " or ".join(marker.args))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each tool that is missing, with the number of tests that were skipped for it."""
    reasons = (str(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    missing = Counter(reason.partition(_MISSING_TOOL)[2].rstrip("')") for reason in reasons if _MISSING_TOOL in reason)
    for tool, tests in missing.items():
        terminalreporter.write_line(f"NOT TESTED: {tool} is missing, {tests} tests skipped", red=True, bold=True)


@pytest.fixture(autouse=True)
def clean_environment(request: pytest.FixtureRequest, work_directory: Path) -> Iterator[None]:
    """Keep variables of this machine from the test, and start it in an empty directory without `.env` and `.relay`.

    The directory is `tmp_path` where a test uses that; the thousands of others share one, emptied where needed. What
    commands that run in this process configure of logging is undone.

    It is one fixture, without `monkeypatch`: with two and that, a small test took a sixth longer.
    """
    removed = {name: os.environ.pop(name) for name in _VARIABLES.intersection(os.environ)}
    has_own = "tmp_path" in request.fixturenames
    before = Path.cwd()
    os.chdir(request.getfixturevalue("tmp_path") if has_own else work_directory)
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers
    os.chdir(before)
    os.environ.update(removed)
    if not has_own and os.listdir(work_directory):  # noqa: PTH208  the quickest for thousands that are empty
        shutil.rmtree(work_directory)
        work_directory.mkdir()


@pytest.fixture(scope="session")
def work_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which a test runs that has no other."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session", autouse=True)
def capturable_loggers() -> Iterator[None]:
    """Have no logger cached by commands that run in this process, so that each test can capture what they log."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            structlog, "configure", lambda **options: configure(**options | {"cache_logger_on_first_use": False})
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> None:
    """Handle Ctrl-C also where a shell runs the tests in the background and has them, and their children, ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """Start the Redis of this process."""
    with asyncio.Runner() as runner:
        context = embedded_redis(tmp_path_factory.mktemp("redis"))
        embedded = runner.run(context.__aenter__())
        yield embedded
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
async def redis(redis_server: Embedded) -> AsyncIterator[Redis]:
    """Return a client of an empty Redis."""
    client = Redis.from_url(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def redis_url(redis_server: Embedded, redis: Redis) -> str:
    """Return the URL of the empty Redis."""
    del redis  # it only has to have been emptied
    return redis_server.url


@pytest.fixture
def clock() -> Clock:
    """Return a clock that moves only when a test moves it."""
    return Clock(NOW)
